"""Matthews correlation for any number of labels: R_K of Gorodkin, "Comparing two K-category assignments by a K-category
correlation coefficient", Computational Biology and Chemistry 28 (2004)."""

from __future__ import annotations

import numpy as np

from heliostat.metrics._confusion import count, ratio
from heliostat.metrics.base import Base


class Matthews(Base):
    """Correlation of decisions and targets, -1 to 1; 0 is chance, whatever the balance of the labels."""

    mode = "max"

    def weighted(self, logits_NC: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        c = count(logits_NC, targets_N, weights_RN)
        total_R = weights_RN.sum(1)
        shared_R = c.hits_RC.sum(1) * total_R - (c.predicted_RC * c.actual_RC).sum(1)
        spread_R = (total_R**2 - (c.predicted_RC**2).sum(1)) * (total_R**2 - (c.actual_RC**2).sum(1))
        return ratio(shared_R, np.sqrt(np.maximum(spread_R, 0.0)))
