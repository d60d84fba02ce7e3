"""Share of words whose largest logit is that of the right tag."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from heliostat.metrics.base import Base


class TagAccuracy(Base):
    """Share of words tagged right; a word the model did not read is wrong."""

    mode = "max"
    judges: ClassVar[str] = "tags"

    def weighted(self, logits_NC: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        judged_NW = targets_N >= 0
        right_NW = judged_NW & (logits_NC.argmax(2) == targets_N) & logits_NC.any(2)  # what was not read has zeros
        right_R, judged_R = weights_RN @ right_NW.sum(1), weights_RN @ judged_NW.sum(1)
        return np.divide(right_R, judged_R, out=np.full_like(right_R, np.nan), where=judged_R > 0)
