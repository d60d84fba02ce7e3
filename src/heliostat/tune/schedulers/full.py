"""Every trial runs to the end: plain search."""

from __future__ import annotations

from dataclasses import dataclass

from heliostat.tune.schedulers.base import Base, Course, Job, Result
from heliostat.tune.space import Space


class Full(Base):
    """Train every trial to the end; nothing is stopped early."""

    def rungs(self) -> tuple[float, ...]:
        return (1.0,)

    def open(self, trials: int, space: Space, seed: int) -> Course:
        return _InTurn(trials)


@dataclass
class _InTurn(Course):
    trials: int
    issued: int = 0

    def see(self, result: Result) -> None:
        """Nothing is decided on it."""

    def next(self) -> Job | None:
        if self.issued >= self.trials:
            return None
        self.issued += 1
        return Job(self.issued - 1, 0)
