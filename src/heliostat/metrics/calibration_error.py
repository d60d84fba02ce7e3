"""Expected calibration error (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3)."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from heliostat.metrics.base import Base, log_softmax


class CalibrationError(Base):
    """Mean gap between how sure the model is and how often it is right, over bins of equal width."""

    bins: int = Field(15, ge=2, le=1000)
    """Bins of confidence between 0 and 1; Guo et al. use 15."""

    mode = "min"

    def weighted(self, logits_NC: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        confidence_N = np.exp(log_softmax(logits_NC).max(1))
        right_N = logits_NC.argmax(1) == targets_N
        bin_N = np.clip(np.ceil(confidence_N * self.bins).astype(int) - 1, 0, self.bins - 1)
        gap_NB = np.eye(self.bins)[bin_N] * (right_N - confidence_N)[:, None]
        # sum over bins of |B|/N x |accuracy(B) - confidence(B)| = sum over bins of |sum in B of (right - confidence)| / N
        return np.abs(weights_RN @ gap_NB).sum(1) / weights_RN.sum(1)
