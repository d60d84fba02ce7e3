"""Every trial runs to the end: plain search."""

from __future__ import annotations

from heliostat.tune.schedulers.base import Base, Job, Result


class Full(Base):
    """Train every trial to the end; nothing is stopped early."""

    def rungs(self) -> tuple[float, ...]:
        return (1.0,)

    def next_job(self, issued: list[Job], seen: list[Result], trials: int) -> Job | None:
        return Job(len(issued), 0) if len(issued) < trials else None
