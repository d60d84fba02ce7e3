"""Mean negative log-likelihood of a target token, in nats."""

from __future__ import annotations

import numpy as np

from heliostat.metrics.base import Base


class TokenLoss(Base):
    """Mean surprise at a target token in nats, every token counting the same."""

    mode = "min"
    judges = "likelihood"

    def weighted(self, answers_NK: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        lost_R, tokens_R = (weights_RN @ answers_NK[:, :2]).T
        return np.divide(lost_R, tokens_R, out=np.full_like(lost_R, np.nan), where=tokens_R > 0)
