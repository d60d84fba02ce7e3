"""Coefficient of determination."""

from __future__ import annotations

import numpy as np

from heliostat.metrics._numbers import TINY, mean
from heliostat.metrics.base import Base


class R2(Base):
    """Share of the target's variance that is explained: 0 is as good as the mean of these rows, 1 is perfect."""

    mode = "max"
    judges = "numbers"

    def weighted(self, answers_N1: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        around_N = targets_N - targets_N.mean()
        missed_R, square_R = mean((answers_N1[:, 0] - targets_N) ** 2, weights_RN), mean(around_N**2, weights_RN)
        variance_R = square_R - mean(around_N, weights_RN) ** 2
        varies_R = variance_R > TINY * square_R
        return np.where(varies_R, 1.0 - missed_R / np.where(varies_R, variance_R, 1.0), np.nan)
