"""Bits per byte of text: the likelihood of a text whatever tokens it is cut into (Gao et al., "The Pile", 2020, section 3.1)."""

from __future__ import annotations

import numpy as np

from heliostat.metrics.base import Base


class BitsPerByte(Base):
    """Bits that the model needs for a byte of text: comparable between models with different tokenizers."""

    mode = "min"
    judges = "likelihood"

    def weighted(self, answers_NK: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        if answers_NK.shape[1] < 3:  # the task does not say how many bytes there are
            return np.full(len(weights_RN), np.nan)
        lost_R, bytes_R = (weights_RN @ answers_NK[:, [0, 2]]).T
        return np.divide(lost_R, bytes_R * np.log(2), out=np.full_like(lost_R, np.nan), where=bytes_R > 0)
