"""Mean negative log-probability of the right label, in nats (the logarithmic score of Good, 1952)."""

from __future__ import annotations

import numpy as np

from heliostat.metrics.base import Base, log_softmax

FLOOR = float(np.log(np.finfo(np.float64).eps))
"""A probability of 0 costs 36 nats, not infinity, so that one row cannot hide all others (scikit-learn's clip)."""


class LogLoss(Base):
    """Mean surprise at the right label in nats: the most sensitive of all, and the one that rewards honest doubt."""

    mode = "min"

    def weighted(self, logits_NC: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        right_N = log_softmax(logits_NC)[np.arange(len(targets_N)), targets_N]
        return weights_RN @ -np.maximum(right_N, FLOOR) / weights_RN.sum(1)
