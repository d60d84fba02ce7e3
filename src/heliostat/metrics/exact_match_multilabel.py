"""Share of rows whose decisions about all names are right (subset accuracy)."""

from __future__ import annotations

import numpy as np

from heliostat.metrics.base import Base


class ExactMatchMultilabel(Base):
    """Share of rows that get all their labels and no other one."""

    mode = "max"
    judges = "names"

    def weighted(self, logits_NC: np.ndarray, targets_NC: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        right_N = ((logits_NC > 0) == (targets_NC > 0)).all(1).astype(np.float64)
        return weights_RN @ right_N / weights_RN.sum(1)
