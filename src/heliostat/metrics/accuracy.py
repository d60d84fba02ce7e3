"""Share of rows whose largest logit is that of the right label."""

from __future__ import annotations

import numpy as np

from heliostat.metrics.base import Base


class Accuracy(Base):
    """Share of rows decided right."""

    mode = "max"

    def weighted(self, logits_NC: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        right_N = (logits_NC.argmax(1) == targets_N).astype(np.float64)
        return weights_RN @ right_N / weights_RN.sum(1)
