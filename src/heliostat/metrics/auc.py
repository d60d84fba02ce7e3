"""Area under the ROC curve, one label against the rest, averaged over labels.

The area is the Mann-Whitney statistic: the share of (positive, negative) pairs that the model's probability ranks
right, ties counting half (Hanley and McNeil, Radiology 143, 1982).
"""

from __future__ import annotations

import warnings

import numpy as np

from heliostat.metrics.base import Base, log_softmax


class Auc(Base):
    """Chance that a row of a label gets more probability for it than a row of another label, averaged over labels."""

    mode = "max"

    def weighted(self, logits_NC: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        log_probs_NC = log_softmax(logits_NC)
        areas_CR = np.stack([_area(log_probs_NC[:, c], targets_N == c, weights_RN) for c in range(logits_NC.shape[1])])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a weighting in which no label is defined is NaN, quietly
            return np.nanmean(areas_CR, axis=0)


def _area(score_N: np.ndarray, positive_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
    """Weighted area [R] of one label; NaN where it has no positive or no negative row."""
    _, rank_N = np.unique(score_N, return_inverse=True)
    order_N = np.argsort(rank_N, kind="stable")
    starts_G = np.flatnonzero(np.diff(rank_N[order_N], prepend=-1))  # first row of each group of equal scores
    sorted_RN = weights_RN[:, order_N]
    positive_RG = np.add.reduceat(sorted_RN * positive_N[order_N], starts_G, axis=1)
    negative_RG = np.add.reduceat(sorted_RN * ~positive_N[order_N], starts_G, axis=1)
    below_RG = np.cumsum(negative_RG, axis=1) - negative_RG
    right_R = (positive_RG * (below_RG + 0.5 * negative_RG)).sum(1)
    pairs_R = positive_RG.sum(1) * negative_RG.sum(1)
    return np.divide(right_R, pairs_R, out=np.full_like(right_R, np.nan), where=pairs_R > 0)
