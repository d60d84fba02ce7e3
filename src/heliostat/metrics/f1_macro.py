"""F1 (the harmonic mean of precision and recall) of each label, averaged with equal weight for every label."""

from __future__ import annotations

import numpy as np

from heliostat.metrics._confusion import count, ratio
from heliostat.metrics.base import Base


class F1Macro(Base):
    """Mean F1 of the labels: rare labels count as much as frequent ones."""

    mode = "max"

    def weighted(self, logits_NC: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        c = count(logits_NC, targets_N, weights_RN)
        return c.mean_over_seen(ratio(2 * c.hits_RC, c.predicted_RC + c.actual_RC))
