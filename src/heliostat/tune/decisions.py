"""What a sweep does next: the scheduler's pure answer, asked at the right moment, written down before it is acted on.

Every job is recorded when it is issued and again when it has a result, so the ledger alone gives the state back after a
kill. With a fixed lag, job k is decided on exactly the results of jobs 0 .. k-1-lag, whatever the timing; while those do
not decide anything, one more result at a time is taken in, in job order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heliostat.tune.schedulers.base import Base, Job, Result

JOB, RESULT = "job", "result"


class Decisions:
    """Jobs issued, results seen, and the next job; `write` makes an event durable."""

    def __init__(self, scheduler: Base, trials: int, events: list[dict[str, Any]], write: Callable[[dict[str, Any]], None]):
        self.scheduler, self.trials, self._write = scheduler, trials, write
        self.issued: list[Job] = []
        self.results: dict[int, Result] = {}
        self.arrived: list[Result] = []
        for event in events:
            self._apply(event)
        self._again = [k for k in range(len(self.issued)) if k not in self.results]
        self.stopped = False

    def _apply(self, event: dict[str, Any]) -> None:
        if event["event"] == JOB:
            self.issued.append(Job(event["trial"], event["rung"]))
        elif event["event"] == RESULT:
            result = Result(event["trial"], event["rung"], event["value"])
            self.results[self.issued.index(Job(result.trial, result.rung))] = result
            self.arrived.append(result)

    def next(self) -> Job | None:
        """The next job, now on record; None while results are awaited, or when all is done."""
        if self.stopped:
            return None
        if self._again:
            return self.issued[self._again.pop(0)]
        job = self._decide()
        if job is not None:
            event = {"event": JOB, "trial": job.trial, "rung": job.rung}
            self._write(event)
            self._apply(event)
        return job

    def _decide(self) -> Job | None:
        lag = self.scheduler.lag()
        if lag is None:
            return self.scheduler.next_job(self.issued, self.arrived, self.trials)
        for upto in range(max(0, len(self.issued) - lag), len(self.issued) + 1):
            if any(k not in self.results for k in range(upto)):
                return None
            job = self.scheduler.next_job(self.issued, [self.results[k] for k in range(upto)], self.trials)
            if job is not None:
                return job
        return None

    def finish(self, job: Job, value: float | None, facts: dict[str, Any]) -> None:
        """A job has a result: on record first, then visible. `value` is larger for better; None never wins."""
        event = {"event": RESULT, "trial": job.trial, "rung": job.rung, "value": value, **facts}
        self._write(event)
        self._apply(event)

    def requeue(self, job: Job) -> None:
        """A job was lost before it had a result; it runs again."""
        self._again.append(self.issued.index(job))

    def stop(self) -> None:
        """Issue nothing more."""
        self.stopped = True

    @property
    def done(self) -> bool:
        """Whether no job is running and no more will come; a stopped sweep leaves lost jobs as they are."""
        waived = len(self._again) if self.stopped else 0
        if len(self.results) + waived < len(self.issued):
            return False
        return self.stopped or self._decide() is None
