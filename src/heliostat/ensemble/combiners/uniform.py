"""Soft vote: every candidate speaks, all with the same weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from heliostat.ensemble.combiners.base import Base


class Uniform(Base):
    """The plain mean of every candidate's probabilities."""

    def weights(self, probs_MNC: np.ndarray, targets_N: np.ndarray, score: Callable[[Any, Any], float]) -> np.ndarray:
        return np.full(len(probs_MNC), 1.0 / len(probs_MNC))
