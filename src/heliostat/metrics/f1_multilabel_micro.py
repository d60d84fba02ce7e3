"""F1 over all decisions about all names together."""

from __future__ import annotations

import numpy as np

from heliostat.metrics._names import count, f1
from heliostat.metrics.base import Base


class F1MultilabelMicro(Base):
    """F1 of all decisions together: frequent labels count as often as they come."""

    mode = "max"
    judges = "names"

    def weighted(self, logits_NC: np.ndarray, targets_NC: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        c = count(logits_NC, targets_NC, weights_RN)
        return f1(c.hits_RC.sum(1), (c.predicted_RC + c.actual_RC).sum(1))
