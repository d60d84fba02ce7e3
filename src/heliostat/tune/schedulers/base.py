"""Contract of schedulers."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from heliostat.core.family import Member


@dataclass(frozen=True)
class Job:
    """Train `trial` until it has reached `rung` (0-based)."""

    trial: int
    rung: int


@dataclass(frozen=True)
class Result:
    """What a job gave: the metric, larger is better; None for NaN or an error, which never wins and never goes on."""

    trial: int
    rung: int
    value: float | None


class Base(Member):
    """Decides which trial runs next and how far: pure functions over what has been seen. Others do the running."""

    @abstractmethod
    def rungs(self) -> tuple[float, ...]:
        """Shares of a full training at which a trial is compared, rising, the last one 1.0."""

    @abstractmethod
    def next_job(self, issued: list[Job], seen: list[Result], trials: int) -> Job | None:
        """The next job, given every job `issued` so far and the results `seen` so far; None while there is nothing to do."""

    def lag(self) -> int | None:
        """Job k is decided on exactly the results of jobs 0 .. k-1-lag; None decides on whatever has arrived."""
        return None
