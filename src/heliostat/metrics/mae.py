"""Mean absolute error."""

from __future__ import annotations

import numpy as np

from heliostat.metrics._numbers import mean
from heliostat.metrics.base import Base


class Mae(Base):
    """Mean absolute error, in the target's unit."""

    mode = "min"
    judges = "numbers"

    def weighted(self, answers_N1: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        return mean(np.abs(answers_N1[:, 0] - targets_N), weights_RN)
