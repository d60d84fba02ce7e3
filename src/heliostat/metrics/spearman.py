"""Rank correlation of answers and targets (Spearman, 1904): equal values share their mean rank.

Under weights a rank is that of rows repeated by their weights, so a resample is ranked anew and not by the ranks of all rows.
"""

from __future__ import annotations

import numpy as np

from heliostat.metrics._numbers import correlation, ranks
from heliostat.metrics.base import Base


class Spearman(Base):
    """Rank correlation of answers and targets: whether they put the rows in the same order."""

    mode = "max"
    judges = "numbers"

    def weighted(self, answers_N1: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        return correlation(ranks(answers_N1[:, 0], weights_RN), ranks(targets_N, weights_RN), weights_RN)
