"""HyperBand (Li et al., 2018, arXiv:1603.06560), as Ray Tune ships it."""

from __future__ import annotations

import math
from typing import Any, Self

from pydantic import Field, model_validator

from heliostat.core.errors import UserError
from heliostat.tune.schedulers._ray import RULES, Iterated, RayCourse, geometric
from heliostat.tune.schedulers.base import Course, Job, Result
from heliostat.tune.space import Space

ROUNDING = 1e-9
"""Ray rounds iterations / eta^s down, and in floats 729 / 3^6 is less than 1."""


class Hyperband(Iterated):
    """Ray's HyperBandScheduler: groups of trials that are halved in step, from a few that train long to many that train little.

    A group waits for all its trials before it halves; a trial that failed is not waited for.
    """

    eta: int = Field(3, ge=2, le=16)
    """One in so many trials of a group goes on, for eta times as many iterations."""

    @model_validator(mode="after")
    def _halves_evenly(self) -> Self:
        powers = [self.eta**k for k in range(1, 10) if self.eta**k <= 1000]
        if self.iterations not in powers:
            close = min(powers, key=lambda power: abs(power - self.iterations))
            allowed = ", ".join(map(str, powers))
            raise UserError(f"iterations: with eta {self.eta} it must be one of {allowed}; {self.iterations} was given. Use {close}.")
        return self

    def rungs(self) -> tuple[float, ...]:
        return tuple(milestone / self.iterations for milestone in self._milestones())

    def _milestones(self) -> list[int]:
        return geometric(1, self.eta, self.iterations)

    def open(self, trials: int, space: Space, seed: int) -> Course:
        return _Bands(self, trials, seed)

    def band(self) -> int:
        """Trials of one band: all groups once."""
        rungs = len(self._milestones())
        return sum(math.ceil(rungs / (halvings + 1) * self.eta**halvings) for halvings in range(rungs))

    def open_band(self, trials: int, seed: int) -> _Band:
        """One band, in which Ray's scheduler knows every trial from the start."""
        from ray.tune.schedulers import HyperBandScheduler

        stock = HyperBandScheduler(**RULES, max_t=self.iterations * (1 + ROUNDING), reduction_factor=self.eta)
        return _Band(stock, trials, self._milestones(), seed, ahead=trials)


class _Band(RayCourse):
    def _fail(self, trial: Any) -> None:
        bracket, _ = self.stock._trial_info[trial]
        bracket.is_being_processed = False  # Ray never takes it back, and then leaves a group waiting for its last trial that failed
        super()._fail(trial)


class _Bands(Course):
    """Bands one after the other, each with a scheduler of its own, so that a call costs the same however many there were.

    A band begins when those before it have nothing to run, and is forgotten when all its trials are over.
    """

    def __init__(self, member: Hyperband, trials: int, seed: int):
        self.member, self.trials, self.seed, self.size = member, trials, seed, member.band()
        self.open: dict[int, _Band] = {}
        self.begun_bands = 0

    def see(self, result: Result) -> None:
        at, number = divmod(result.trial, self.size)
        self.open[at].see(Result(number, result.rung, result.value))
        if self.open[at].over:
            del self.open[at]

    def next(self) -> Job | None:
        for at, band in self.open.items():
            if (job := band.next()) is not None:
                return Job(at * self.size + job.trial, job.rung)
        left = self.trials - self.begun_bands * self.size
        if left <= 0:
            return None
        self.open[self.begun_bands] = self.member.open_band(min(left, self.size), self.seed)
        self.begun_bands += 1
        return self.next()
