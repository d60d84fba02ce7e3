"""Forward selection with replacement (Caruana et al., "Ensemble Selection from Libraries of Models", ICML 2004).

Start from the best members; then add, again and again, the one that helps the mean most. A member that is added twice
weighs twice. It ends when nothing helps any more. Equal scores are settled by the lower log-loss, then by the better
member, so the same predictions always give the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pydantic import Field

from heliostat.ensemble.combiners.base import Base

TINY = np.finfo(np.float64).eps
LOSS_GAIN = 1e-12
"""A log-loss must fall by more than rounding noise to count as a gain."""


class Greedy(Base):
    """Add the member that helps most, again and again, until none does."""

    rounds: int = Field(50, ge=1, le=10_000)
    """Most members taken in after the first ones, repetitions counted."""
    start: int = Field(1, ge=1)
    """Best members that are in from the beginning: more of them guard against overfitting a small validation split."""

    def weights(self, probs_MNC: np.ndarray, targets_N: np.ndarray, score: Callable[[Any, Any], float]) -> np.ndarray:
        taken = self.steps(probs_MNC, targets_N, score)
        return np.bincount(taken, minlength=len(probs_MNC)) / len(taken)

    def steps(self, probs_MNC: np.ndarray, targets_N: np.ndarray, score: Callable[[Any, Any], float]) -> list[int]:
        ranked = sorted(range(len(probs_MNC)), key=lambda m: (*_badness(probs_MNC[m], targets_N, score), m))
        taken = ranked[: self.start]
        sum_NC = probs_MNC[taken].sum(0)
        current = _badness(sum_NC / len(taken), targets_N, score)
        for _ in range(self.rounds):
            means = ((sum_NC + probs_NC) / (len(taken) + 1) for probs_NC in probs_MNC)
            best, member = min((_badness(mean_NC, targets_N, score), m) for m, mean_NC in enumerate(means))
            if not _improves(best, current):
                break
            taken, sum_NC, current = [*taken, member], sum_NC + probs_MNC[member], best
        return taken


def _badness(probs_NC: np.ndarray, targets_N: np.ndarray, score: Callable[[Any, Any], float]) -> tuple[float, float]:
    """(-score, log-loss): smaller is better, the log-loss settles equal scores."""
    right_N = probs_NC[np.arange(len(targets_N)), targets_N]
    return -score(probs_NC, targets_N), float(-np.log(np.maximum(right_N, TINY)).mean())


def _improves(new: tuple[float, float], old: tuple[float, float]) -> bool:
    return new[0] < old[0] or (new[0] == old[0] and new[1] < old[1] - LOSS_GAIN)
