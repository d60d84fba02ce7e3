"""Whether a longer training ranks trials as a shorter one does: soft ranking and its noise, after PASHA (arXiv:2207.06940, section 4).

Looked at are the `COMPARED` best trials, so that the cost of a result stays the same however many there are.

N trials, R rungs from the lowest to the highest in use.
"""

from __future__ import annotations

from bisect import insort

import numpy as np

COMPARED = 64
PERCENTILE = 90
"""Of the differences between trials that overtook each other back and forth; what is nearer than that counts as equal."""


class Trail:
    """The values of each trial, rung by rung, and the best trials of each rung."""

    def __init__(self) -> None:
        self.values: dict[int, list[float]] = {}
        self.ranked: dict[int, list[tuple[float, int]]] = {}

    def add(self, trial: int, rung: int, value: float | None) -> None:
        """A trial, which has been at every rung below, gave this value; None gives nothing."""
        if value is None:
            return
        self.values.setdefault(trial, []).append(value)
        insort(self.ranked.setdefault(rung, []), (-value, trial))
        del self.ranked[rung][COMPARED:]

    def best(self, rung: int) -> np.ndarray:
        """[N, R]: the values of the best trials at `rung`, at each rung up to it."""
        return np.array([self.values[trial][: rung + 1] for _, trial in self.ranked[rung]])


def same_ranking(above_N: np.ndarray, below_N: np.ndarray, epsilon: float) -> bool:
    """Whether each trial, ranked by `above_N`, stands where by `below_N` a trial stands that is at most `epsilon` better or worse."""
    by_above_N, by_below_N = np.argsort(-above_N, kind="stable"), np.argsort(-below_N, kind="stable")
    return bool(np.all(np.abs(below_N[by_above_N] - below_N[by_below_N]) <= epsilon))


def noise(values_NR: np.ndarray) -> float:
    """The difference that means nothing: of the pairs that overtook each other and back, the 90th percentile of how far apart they
    are at the highest rung; 0 when there is no such pair."""
    one, other = np.triu_indices(len(values_NR), k=1)
    apart_PR = values_NR[one] - values_NR[other]
    apart_P = np.abs(apart_PR[turns(apart_PR) >= 2, -1])
    return float(np.percentile(apart_P, PERCENTILE)) if len(apart_P) else 0.0


def turns(apart_PR: np.ndarray) -> np.ndarray:
    """[P]: how often the sign of each row changes, zeros left out."""
    count_P, sign_P = np.zeros(len(apart_PR), dtype=int), np.zeros(len(apart_PR))
    for now_P in np.sign(apart_PR).T:
        count_P += now_P * sign_P < 0
        sign_P = np.where(now_P != 0, now_P, sign_P)
    return count_P
