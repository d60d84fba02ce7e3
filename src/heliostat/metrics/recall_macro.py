"""Share of each label's rows that are found, averaged with equal weight for every label."""

from __future__ import annotations

import numpy as np

from heliostat.metrics._confusion import count, ratio
from heliostat.metrics.base import Base


class RecallMacro(Base):
    """Mean recall of the labels; a label that is predicted and has no rows counts 0."""

    mode = "max"

    def weighted(self, logits_NC: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        c = count(logits_NC, targets_N, weights_RN)
        return c.mean_over_seen(ratio(c.hits_RC, c.actual_RC))
