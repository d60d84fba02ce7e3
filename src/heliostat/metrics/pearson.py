"""Linear correlation of answers and targets (Pearson)."""

from __future__ import annotations

import numpy as np

from heliostat.metrics._numbers import centred, correlation
from heliostat.metrics.base import Base


class Pearson(Base):
    """Linear correlation of answers and targets: whether they rise together, whatever their scale."""

    mode = "max"
    judges = "numbers"

    def weighted(self, answers_N1: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        return correlation(centred(answers_N1[:, 0]), centred(targets_N), weights_RN)
