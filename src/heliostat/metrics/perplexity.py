"""Perplexity: the exponential of the mean negative log-likelihood of a target token."""

from __future__ import annotations

import numpy as np

from heliostat.metrics.base import Base
from heliostat.metrics.token_loss import TokenLoss


class Perplexity(Base):
    """Among how many equally likely tokens the model chooses in effect, at each target token."""

    mode = "min"
    judges = "likelihood"

    def weighted(self, answers_NK: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # beyond what a float holds it is infinite, and never wins
            return np.exp(TokenLoss().weighted(answers_NK, targets_N, weights_RN))
