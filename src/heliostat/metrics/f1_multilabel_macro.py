"""F1 of each name, averaged with equal weight for every name that was decided or true at least once."""

from __future__ import annotations

import numpy as np

from heliostat.metrics._names import count, f1, mean_of_defined
from heliostat.metrics.base import Base


class F1MultilabelMacro(Base):
    """Mean F1 of the labels: rare labels count as much as frequent ones."""

    mode = "max"
    judges = "names"

    def weighted(self, logits_NC: np.ndarray, targets_NC: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        c = count(logits_NC, targets_NC, weights_RN)
        return mean_of_defined(f1(c.hits_RC, c.predicted_RC + c.actual_RC))
