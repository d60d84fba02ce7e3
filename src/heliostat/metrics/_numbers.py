"""Weighted moments of answers and targets that are numbers, under many weightings of the rows at once.

Shapes: N rows, R weightings.
"""

from __future__ import annotations

import numpy as np

TINY = 1e-12
"""A variance below this share of the mean square of what it is a variance of is rounding, and counts as none."""


def mean(values: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
    """Weighted mean [R] of values [N], or of values [R, N]."""
    total_R = weights_RN @ values if values.ndim == 1 else (weights_RN * values).sum(1)
    return total_R / weights_RN.sum(1)


def centred(values_N: np.ndarray) -> np.ndarray:
    """The values around 0, in units of their spread: what is said of them does not change, and squares keep their digits."""
    shifted_N = values_N - values_N.mean()
    return shifted_N / (np.abs(shifted_N).max() or 1.0)


def correlation(first: np.ndarray, second: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
    """Weighted correlation [R] of two arrays [N] or [R, N] that lie around 0; NaN where one of them does not vary."""
    mean_a_R, mean_b_R = mean(first, weights_RN), mean(second, weights_RN)
    square_a_R, square_b_R = mean(first**2, weights_RN), mean(second**2, weights_RN)
    spread_a_R, spread_b_R = square_a_R - mean_a_R**2, square_b_R - mean_b_R**2
    varies_R = (spread_a_R > TINY * square_a_R) & (spread_b_R > TINY * square_b_R)
    shared_R = mean(first * second, weights_RN) - mean_a_R * mean_b_R
    root_R = np.sqrt(np.where(varies_R, spread_a_R * spread_b_R, 1.0))
    return np.where(varies_R, np.clip(shared_R / root_R, -1.0, 1.0), np.nan)


def ranks(values_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
    """Weighted ranks [R, N] around 0, equal values sharing their mean rank: those of rows repeated by their weights, up to a shift."""
    order_N = np.argsort(values_N, kind="stable")
    starts_G = np.flatnonzero(np.append(True, np.diff(values_N[order_N]) != 0))
    group_N = np.empty(len(values_N), dtype=np.int64)
    group_N[order_N] = np.cumsum(np.append(0, np.diff(values_N[order_N]) != 0))
    weight_RG = np.add.reduceat(weights_RN[:, order_N], starts_G, axis=1)
    rank_RG = np.cumsum(weight_RG, axis=1) - weight_RG / 2
    return rank_RG[:, group_N] / weights_RN.sum(1, keepdims=True) - 0.5
