"""Asynchronous successive halving, the promotion variant (Li et al., 2020, arXiv:1810.05934, algorithm 2).

A trial runs to a rung and pauses. Whenever a slot is free, the best paused trial that is in the top 1/eta of its rung is
promoted, from the highest rung down; when none is, a new trial starts. Because decisions are taken on the results of
the jobs before it in a fixed order (`decision_lag`), a sweep gives the same trials and promotions whatever the timing,
the number of slots, or how often it was killed.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from heliostat.core.errors import UserError
from heliostat.tune.schedulers.base import Base, Job, Result


class Asha(Base):
    """Promote the best 1/eta of each rung; stop paying for the rest."""

    eta: int = Field(2, ge=2, le=16)
    """One in so many trials of a rung goes on."""
    first: float = Field(0.25, gt=0, le=1)
    """Share of a full training at the first rung; each rung is eta times the one before."""
    decision_lag: int | None = Field(3, ge=0)
    """Decide job k on the results of jobs 0 .. k-1-lag: reproducible, and at most lag + 1 jobs run side by side.
    None decides on whatever has arrived: any width, not reproducible."""

    @model_validator(mode="after")
    def _reaches_the_end(self) -> Self:
        if self.first * self.eta > 1 and self.first != 1:
            raise UserError(
                f"first: a first rung of {self.first} with eta {self.eta} leaves no second one. Use at most {1 / self.eta:g}, or 1."
            )
        return self

    def rungs(self) -> tuple[float, ...]:
        shares = [self.first]
        while shares[-1] * self.eta < 1.0 - 1e-9:
            shares.append(shares[-1] * self.eta)
        return (*shares, 1.0) if shares[-1] < 1.0 - 1e-9 else tuple(shares)

    def next_job(self, issued: list[Job], seen: list[Result], trials: int) -> Job | None:
        taken = {(job.trial, job.rung) for job in issued}
        for rung in range(len(self.rungs()) - 2, -1, -1):
            trial = promotable(seen, rung, self.eta, taken)
            if trial is not None:
                return Job(trial, rung + 1)
        started = {job.trial for job in issued}
        return Job(len(started), 0) if len(started) < trials else None

    def lag(self) -> int | None:
        return self.decision_lag


def promotable(seen: list[Result], rung: int, eta: int, taken: set[tuple[int, int]]) -> int | None:
    """The best trial among the top 1/eta of `rung` that has not gone on, or None. Ties go to the lower number."""
    here = [r for r in seen if r.rung == rung]
    ranked = sorted((r for r in here if r.value is not None), key=lambda r: (-r.value, r.trial))  # type: ignore[operator]
    for result in ranked[: len(here) // eta]:
        if (result.trial, rung + 1) not in taken:
            return result.trial
    return None
