"""Root of the mean squared error."""

from __future__ import annotations

import numpy as np

from heliostat.metrics._numbers import mean
from heliostat.metrics.base import Base


class Rmse(Base):
    """Root of the mean squared error, in the target's unit: large misses count more than small ones."""

    mode = "min"
    judges = "numbers"

    def weighted(self, answers_N1: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        return np.sqrt(mean((answers_N1[:, 0] - targets_N) ** 2, weights_RN))
