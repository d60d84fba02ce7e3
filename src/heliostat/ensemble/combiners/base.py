"""Contract of combiners. Shapes: M members, N rows, C labels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from heliostat.core.family import Member


class Base(Member):
    """Chooses members and weights from validation predictions alone."""

    @abstractmethod
    def weights(self, probs_MNC: np.ndarray, targets_N: np.ndarray, score: Callable[[Any, Any], float]) -> np.ndarray:
        """Weights [members], not negative, summing to 1; 0 leaves a member out.

        `probs_MNC` [members, rows, labels] are probabilities, best member first; `targets_N` [rows] label indices;
        `score(probs_NC, targets_N)` is larger for better.
        """

    def steps(self, probs_MNC: np.ndarray, targets_N: np.ndarray, score: Callable[[Any, Any], float]) -> list[int]:
        """The members in the order they were taken in, for the record; a member may come twice."""
        weights_M = self.weights(probs_MNC, targets_N, score)
        return [int(m) for m in np.argsort(-weights_M, kind="stable") if weights_M[m] > 0]
