"""What a sweep does next: the scheduler's and the sampler's answers, asked at the right moment, written down before they are acted on.

Every job is recorded when it is decided and again when it has a result, so replaying the ledger gives the state back after
a kill. With a `decision_lag`, time is a clock of its own: lag + 1 imaginary slots on which a job takes as long as its share of
a whole training. A job is decided when a slot is free by that clock, on exactly the results of the jobs that have ended by it.
So the same sweep comes out whatever the timing and the number of real slots, and a long job holds nobody up but those who
need its result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from heapq import heappop, heappush
from typing import Any

from heliostat.core.errors import RunFailed
from heliostat.tune.proposals import Proposals
from heliostat.tune.samplers.base import Told
from heliostat.tune.schedulers.base import Base, Job, Result

JOB, RESULT = "job", "result"


class Decisions:
    """Jobs decided, results seen, and the next job; `write` makes an event durable.

    Cost per event does not grow with the number of events.
    """

    def __init__(
        self, scheduler: Base, trials: int, proposals: Proposals, events: Iterable[dict[str, Any]], write: Callable[[dict[str, Any]], None]
    ):
        self.course = scheduler.open(trials, proposals.space, proposals.seed)
        self.lag, self.proposals, self._shares = scheduler.lag(), proposals, scheduler.rungs()
        self.last_rung = len(self._shares) - 1
        self.jobs: list[Job] = []
        self.results: dict[int, Result] = {}
        """Place of a job in `jobs` to what it gave."""
        self.settings: dict[int, dict[str, Any]] = {}
        """Trial to what it tries now."""
        self.tried: dict[int, dict[str, Any]] = {}
        """Trial to what its last result was tried with."""
        self.stopped = False
        self._place: dict[tuple[int, int], int] = {}
        self._known: dict[int, Told] = {}
        self._clock: list[tuple[float, int]] = []
        """With a lag: when each job that goes on will end by the clock, and its place in `jobs`."""
        self._now = 0.0
        self._reached: dict[int, float] = {}
        """Trial to the share of its training that its last job brings it to."""
        self._arrived: deque[Result] = deque()
        self._held: deque[int] = deque()
        self._write: Callable[[dict[str, Any]], None] = lambda event: None
        for event in events:
            self._replay(event)
        self._held = deque(k for k in range(len(self.jobs)) if k not in self.results)
        self._write = write

    def next(self) -> Job | None:
        """The next job, on record; None while results are awaited, or when all is done."""
        if self.stopped or not self._ready():
            return None
        return self.jobs[self._held.popleft()]

    def finish(self, job: Job, value: float | None, facts: dict[str, Any]) -> None:
        """A job has a result: on record first, then visible. `value` is larger for better; None never wins. `facts` may say what is
        decided on instead: "now", the value of the state that others may go on from."""
        event = {"event": RESULT, "trial": job.trial, "rung": job.rung, "value": value, **facts}
        self._write(event)
        self._finished(_result(event))

    def requeue(self, job: Job) -> None:
        """A job was lost before it had a result; it runs again."""
        self._held.append(self._place[job.key])

    def stop(self) -> None:
        """Issue nothing more."""
        self.stopped = True

    @property
    def running(self) -> int:
        """Jobs that were handed out and have no result."""
        return len(self.jobs) - len(self.results) - len(self._held)

    @property
    def done(self) -> bool:
        """Whether no job is running and no more will come; a stopped sweep leaves what it holds as it is."""
        return self.running == 0 and (self.stopped or not self._ready())

    def _ready(self) -> bool:
        """Whether a job is held, after deciding one if that is possible."""
        if not self._held and (job := self._decide()) is not None:
            settings = job.settings if job.trial in self.settings else self.proposals.settings(job.trial)
            self._write(_event(job, settings))
            self._issue(job, settings)
            self._held.append(len(self.jobs) - 1)
        return bool(self._held)

    def _decide(self) -> Job | None:
        if self.lag is None:
            while self._arrived:
                self._take(self._arrived.popleft())
            return self.course.next()
        while len(self._clock) > self.lag:
            if not self._time_passes():
                return None
        job = self.course.next()
        while job is None and self._time_passes():
            job = self.course.next()
        return job

    def _time_passes(self) -> bool:
        """To the end, by the clock, of the next job; False while its result is awaited, or when no job is going on."""
        if not self._clock or self._clock[0][1] not in self.results:
            return False
        self._now, place = heappop(self._clock)
        self._take(self.results[place])
        return True

    def _take(self, result: Result) -> None:
        """A result becomes visible to the scheduler and the sampler."""
        self.course.see(result)
        known = self._known[result.trial]
        values = known.values if result.value is None else {**known.values, result.rung: result.value}
        state = "failed" if result.value is None else ("completed" if result.rung == self.last_rung else "paused")
        self._tell(Told(result.trial, known.settings, values, state))  # type: ignore[arg-type]

    def _issue(self, job: Job, settings: dict[str, Any] | None) -> None:
        """A job that is on record becomes visible to the scheduler and the sampler; `settings` are new ones of its trial."""
        self._place[job.key] = len(self.jobs)
        if self.lag is not None:
            begins = self._shares[job.rung - 1] if job.parent is not None else self._reached.get(job.trial, 0.0)
            heappush(self._clock, (self._now + self._shares[job.rung] - begins, len(self.jobs)))
            self._reached[job.trial] = self._shares[job.rung]
        self.jobs.append(job)
        if settings is not None:
            self.settings[job.trial] = settings
            self.course.begun(job.trial, settings)
        known = self._known.get(job.trial)
        self._tell(Told(job.trial, self.settings[job.trial], known.values if known else {}, "running"))

    def _tell(self, told: Told) -> None:
        self._known[told.number] = told
        self.proposals.tell(told)

    def _finished(self, result: Result) -> None:
        self.results[self._place[result.trial, result.rung]] = result
        self.tried[result.trial] = self.settings[result.trial]
        if self.lag is None:
            self._arrived.append(result)

    def _replay(self, event: dict[str, Any]) -> None:
        """Settings are the ledger's: a sampler is not asked again, and arithmetic that rounds elsewhere changes nothing."""
        if event["event"] == RESULT:
            if (event["trial"], event["rung"]) not in self._place:
                raise _misfit(event, None)
            self._finished(_result(event))
        elif event["event"] == JOB:
            job, settings = self._decide(), event.get("settings")
            if job is None or _event(job, settings) != event or (settings is None) != self._keeps(job):
                raise _misfit(event, job)
            self._issue(replace(job, settings=settings) if job.settings else job, settings)

    def _keeps(self, job: Job) -> bool:
        """Whether its trial goes on with the settings it has."""
        return job.settings is None and job.trial in self.settings


def _event(job: Job, settings: dict[str, Any] | None) -> dict[str, Any]:
    parent = {} if job.parent is None else {"parent": job.parent}
    return {"event": JOB, "trial": job.trial, "rung": job.rung, **parent, **({} if settings is None else {"settings": settings})}


def _result(event: dict[str, Any]) -> Result:
    return Result(event["trial"], event["rung"], event.get("now", event["value"]))


def _misfit(event: dict[str, Any], job: Job | None) -> RunFailed:
    recorded = f"a {event['event']} of trial {event['trial']} at rung {event['rung']}"
    follows = "no job follows" if job is None else f"trial {job.trial} at rung {job.rung} follows"
    return RunFailed(
        f"the sweep's ledger does not fit its scheduler: it has {recorded}, where {follows}. It was written by another version: "
        "start again with --replace."
    )
