"""Asynchronous successive halving, the promotion variant (Li et al., 2020, arXiv:1810.05934, algorithm 2).

A trial runs to a rung and pauses. Whenever a slot is free, the best paused trial that is in the top 1/eta of its rung is
promoted, from the highest rung down; when none is, a new trial starts. One that is in the top 1/eta but nearer to the median
than to the best waits for that until no new trial is left: a new one is the better bet. Trials that are too few for anyone to
reach the last rung are not left at that: the best of them is trained to the end. With brackets, some trials skip the lowest
rungs; with `grow` (PASHA), rungs are added only while they change the ranking.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Self

from pydantic import Field, model_validator

from heliostat.core.errors import UserError
from heliostat.tune.schedulers._ranking import Trail, noise, same_ranking
from heliostat.tune.schedulers.base import Course, Job, Reproducible, Result
from heliostat.tune.space import Space


class Asha(Reproducible):
    """Promote the best 1/eta of each rung; stop paying for the rest."""

    eta: int = Field(2, ge=2, le=16)
    """One in so many trials of a rung goes on."""
    first: float = Field(0.25, gt=0, le=1)
    """Share of a full training at the first rung; each rung is eta times the one before."""
    behind: float = Field(0.5, gt=0, le=1)
    """How far behind the best of its rung a trial may be and go on before new ones are tried, as a share of the way from the best
    to the median. 1 is ASHA as published."""
    brackets: int = Field(1, ge=1)
    """Groups of trials that are ranked by themselves; trials of the second one begin at the second rung, and so on, in HyperBand's
    proportions. More than 1 protects trials that are slow to show what they are worth."""
    grow: bool = False
    """Begin with two rungs, and add the next one only while it changes the ranking (PASHA, Bohdal et al., 2023, arXiv:2207.06940).
    Cheaper where short trainings rank as long ones do."""

    @model_validator(mode="after")
    def _reaches_the_end(self) -> Self:
        if self.first * self.eta > 1 and self.first != 1:
            raise UserError(
                f"first: a first rung of {self.first} with eta {self.eta} leaves no second one. Use at most {1 / self.eta:g}, or 1."
            )
        rungs = len(self.rungs())
        if self.brackets > rungs:
            raise UserError(
                f"brackets: {self.brackets} brackets need as many rungs, and first {self.first:g} with eta {self.eta} makes {rungs}. "
                f"Use {f'1 to {rungs}' if rungs > 1 else '1'}, or a smaller first."
            )
        if self.grow and self.brackets > 1:
            raise UserError(f"grow: it adds rungs to one bracket, and brackets is {self.brackets}. Take one of the two out.")
        return self

    def rungs(self) -> tuple[float, ...]:
        shares = [self.first]
        while shares[-1] * self.eta < 1.0 - 1e-9:
            shares.append(shares[-1] * self.eta)
        return (*shares, 1.0) if shares[-1] < 1.0 - 1e-9 else tuple(shares)

    def open(self, trials: int, space: Space, seed: int) -> Course:
        rungs = len(self.rungs())
        if self.grow:
            return _Growing(trials, self.eta, rungs, self.behind)
        return _Promotions(trials, self.eta, rungs, self.behind, proportions(self.eta, rungs, self.brackets))


def proportions(eta: int, rungs: int, brackets: int) -> list[float]:
    """Each bracket's share of the trials, as HyperBand has it (Li et al., 2018, arXiv:1603.06560, algorithm 1): with h halvings
    before it eta^h / (h + 1), so that brackets cost about the same."""
    weights = [eta**halvings / (halvings + 1) for halvings in range(rungs - 1, rungs - 1 - brackets, -1)]
    return [weight / sum(weights) for weight in weights]


def dealt_next(shares: Sequence[float], dealt: Sequence[int]) -> int:
    """The bracket of the next trial: the one that lacks most of its share, the lower one of equals."""
    total = sum(dealt) + 1
    return max(range(len(shares)), key=lambda s: (shares[s] * total - dealt[s], -s))


@dataclass
class Rung:
    """The results at one rung; ties go to the lower trial number."""

    count: int = 0
    """Results, failures among them."""
    waiting: list[tuple[float, int]] = field(default_factory=list)
    """Heap of (minus the value, trial) of those that have not gone on."""
    gone: list[tuple[float, int]] = field(default_factory=list)
    """The same of those that have, sorted."""
    values: list[float] = field(default_factory=list)
    """Of all of them, sorted."""

    def add(self, trial: int, value: float | None) -> None:
        self.count += 1
        if value is not None:
            heappush(self.waiting, (-value, trial))
            insort(self.values, value)

    def promotable(self, eta: int, behind: float = 1.0) -> int | None:
        """The best trial that has not gone on, if it is among the top 1/eta and no further behind the best; else None."""
        if not self.waiting or bisect_left(self.gone, self.waiting[0]) >= self.count // eta:
            return None
        value, trial = -self.waiting[0][0], self.waiting[0][1]
        best, median = self.values[-1], self.values[len(self.values) // 2]
        return trial if behind == 1 or best - value <= behind * (best - median) else None

    def promote(self) -> int:
        """The best trial that has not gone on goes on."""
        insort(self.gone, best := heappop(self.waiting))
        return best[1]


class _Promotions(Course):
    """Bracket s holds the rungs of the trials that begin at rung s."""

    def __init__(self, trials: int, eta: int, rungs: int, behind: float, shares: Sequence[float]):
        self.trials, self.eta, self.top, self.behind, self.shares = trials, eta, rungs - 1, behind, shares
        self.brackets = [[Rung() for _ in range(rungs)] for _ in shares]
        self.of: list[int] = []
        """Trial to its bracket."""
        self.dealt = [0 for _ in shares]
        """Trials of each bracket."""
        self.cap = self.top
        """The highest rung in use."""
        self.awaited = 0
        """Jobs without a result."""

    def see(self, result: Result) -> None:
        self.awaited -= 1
        self.brackets[self.of[result.trial]][result.rung].add(result.trial, result.value)

    def next(self) -> Job | None:
        job = self._promotion(self.behind) or self._start() or self._promotion(1.0) or self._last_climb()
        if job is not None:
            self.awaited += 1
        return job

    def _promotion(self, behind: float) -> Job | None:
        """The promotion to the highest rung in use, of a trial that is no further behind."""
        for at in range(self.cap - 1, -1, -1):
            for rungs in self.brackets:
                if rungs[at].promotable(self.eta, behind) is not None:
                    return Job(rungs[at].promote(), at + 1)
        return None

    def _start(self) -> Job | None:
        if len(self.of) >= self.trials:
            return None
        bracket = dealt_next(self.shares, self.dealt)
        self.dealt[bracket] += 1
        self.of.append(bracket)
        return Job(len(self.of) - 1, bracket)

    def _last_climb(self) -> Job | None:
        """When all else is done and no trial was trained to the end: the best one of the highest rung that has one goes on."""
        if self.awaited:
            return None
        highest = next((at for at in range(self.top, -1, -1) if any(rungs[at].waiting for rungs in self.brackets)), self.top)
        if highest == self.top:
            return None
        best = min((rungs[highest] for rungs in self.brackets if rungs[highest].waiting), key=lambda rung: rung.waiting[0])
        return Job(best.promote(), highest + 1)


class _Growing(_Promotions):
    """One bracket, whose highest rung in use grows while it changes the ranking of the trials that reached it."""

    def __init__(self, trials: int, eta: int, rungs: int, behind: float):
        super().__init__(trials, eta, rungs, behind, [1.0])
        self.cap = min(1, self.top)
        self.trail = Trail()

    def see(self, result: Result) -> None:
        super().see(result)
        self.trail.add(result.trial, result.rung, result.value)
        if result.rung == self.cap < self.top and result.value is not None:
            values_NR = self.trail.best(self.cap)
            if not same_ranking(values_NR[:, -1], values_NR[:, -2], noise(values_NR)):
                self.cap += 1
