"""A sweep over a pool of warm gangs: which job comes next is decided elsewhere (pure); here it is handed out and awaited.

A trial is an order to a gang, so it costs a message: no process, no placement group, no actor of its own. The pool follows
the cluster: gangs are added when there is room, one whose nodes are gone is let go and its job is handed out again.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import ray

from heliostat.engine import failures
from heliostat.engine.gang import Gang
from heliostat.engine.orders import Order, Reply

LOOK_EVERY_S = 5.0
"""How often the pool is compared with the cluster."""
MAX_LOSSES = 3
"""Gangs a job may lose before it counts as failed."""


class Decisions(Protocol):
    """What decides the next job; see heliostat.tune.decisions."""

    def next(self) -> Any | None: ...
    def requeue(self, job: Any) -> None: ...
    @property
    def done(self) -> bool: ...


class Sweep:
    """One sweep at work: `order_for(job)` is performed by a gang, `record(job, reply)` is told, one at a time, in this thread.

    `most` is the largest number of gangs the sweep can use, `engine` gives them, `stop()` is asked before a job is handed out:
    True lets the running ones end and hands out no more.
    """

    def __init__(
        self,
        decisions: Decisions,
        engine: Any,
        *,
        most: int,
        order_for: Callable[[Any], Order],
        record: Callable[[Any, Reply], None],
        stop: Callable[[], bool] = lambda: False,
    ):
        self.decisions, self.engine, self.most = decisions, engine, most
        self.order_for, self.record, self.stop = order_for, record, stop
        self.free: list[Gang] = []
        self.working: dict[Any, tuple[Any, Gang]] = {}
        self.coming: dict[Any, Gang] = {}
        """Gangs that have no workers yet; a job never waits for one, for a cluster shared with others may have no room."""
        self.leaving: list[Gang] = []
        """Busy gangs that the cluster, as it is now, keeps no room for: each ends the job it is at and is let go."""
        self.losses: Counter[tuple[int, int]] = Counter()
        self._looked = 0.0

    def run(self, ahead: Callable[[Any], object] | None = None) -> None:
        """Until the decisions are done. `ahead(job)`, asked of the first one while the gangs come up, does what takes long."""
        self._follow_cluster()
        if ahead is not None:
            self._look_ahead(ahead)
        while True:
            self._follow_cluster()
            self._hand_out()
            if not self.working and (self.stop() or self.decisions.done):
                return
            self._take_in()

    def _look_ahead(self, ahead: Callable[[Any], object]) -> None:
        if self.stop() or (job := self.decisions.next()) is None:
            return
        try:
            ahead(job)
        except Exception as error:  # noqa: BLE001  whatever it is, it is this trial's
            self.record(job, failures.failed(error, alone=True))
        else:
            self.decisions.requeue(job)

    def _hand_out(self) -> None:
        """A job for every free gang, then one ahead for every busy one, so that it goes from one training to the next at once."""
        while self.free and not self.stop():
            job = self.decisions.next() or self._taken_back()
            if job is None:
                return
            gang = next((g for g in self.free if g.holds == job.trial), self.free[0])
            if self._order(job, gang):
                self.free.remove(gang)
        while not self.free and (gangs := self._without_one_ahead()) and not self.stop():
            job = self.decisions.next()
            if job is None:
                return
            self._order(job, next((g for g in gangs if g.holds == job.trial), gangs[0]))
        while self.stop() and (job := self._taken_back()) is not None:  # what runs ends, and nothing new begins
            self.decisions.requeue(job)

    def _order(self, job: Any, gang: Gang) -> bool:
        """Whether the gang has the job's order now; one that cannot even be made is a failure of its job, and of no other."""
        try:
            order = self.order_for(job)
        except Exception as error:  # noqa: BLE001  whatever it is, it is this trial's
            self.record(job, failures.failed(error, alone=True))
            return False
        if gang not in self.engine.gangs:  # let go meanwhile, to make room for preparing the order's rows
            self.free = [other for other in self.free if other is not gang]
            self.decisions.requeue(job)
            return False
        gang.holds = job.trial
        self.working[gang.order(order, _name(job))] = (job, gang)
        return True

    def _without_one_ahead(self) -> list[Gang]:
        """Busy gangs that stay and have nothing to do next."""
        counts = Counter(id(gang) for _, gang in self.working.values())
        staying = [gang for _, gang in self.working.values() if gang in self.engine.gangs and gang not in self.leaving]
        return [gang for gang in staying if counts[id(gang)] == 1]

    def _taken_back(self, of: Gang | None = None) -> Any | None:
        """A job that waits behind another one, for a gang that is free; `of` one gang or of any."""
        counts = Counter(id(gang) for _, gang in self.working.values())
        for reference, (job, gang) in reversed(self.working.items()):
            if (of is None or gang is of) and counts[id(gang)] > 1 and gang.withdraw(_name(job)):
                del self.working[reference]
                gang.holds = next(at_work.trial for at_work, other in self.working.values() if other is gang)
                return job
        return None

    def _take_in(self) -> None:
        awaited = [*self.working, *self.coming]
        if not awaited:
            time.sleep(LOOK_EVERY_S / 10)  # the cluster has shrunk to nothing
            return
        ready, _ = ray.wait(awaited, num_returns=1, timeout=LOOK_EVERY_S)
        for reference in ready:
            if reference in self.coming:
                self._come_up(self.coming.pop(reference), reference)
                continue
            job, gang = self.working.pop(reference)
            try:
                reply = ray.get(reference)
            except ray.exceptions.RayActorError as error:  # the gang's mailbox went with its node
                reply = Reply(error=f"the gang was lost: {type(error).__name__}", reason="closed")
            if reply.reason == "closed":
                self.engine.release(gang)
                self._lost(job, reply)
                for other, (ahead, its) in list(self.working.items()):
                    if its is gang:  # what waited behind it was not even begun
                        del self.working[other]
                        self.decisions.requeue(ahead)
                continue
            if all(other is not gang for _, other in self.working.values()):
                if gang in self.leaving:
                    self.engine.release(gang)
                else:
                    self.free.append(gang)
            self.record(job, reply)

    def _come_up(self, gang: Gang, reference: Any) -> None:
        try:
            ray.get(reference)
            if gang in self.engine.gangs:
                self.free.append(gang)
        except ray.exceptions.RayActorError:
            self.engine.release(gang)

    def _lost(self, job: Any, reply: Reply) -> None:
        """A gang is gone with its job, which runs again; a job that loses one gang after the other has failed."""
        self.losses[job.trial, job.rung] += 1
        if self.losses[job.trial, job.rung] >= MAX_LOSSES:
            self.record(job, reply)
        else:
            self.decisions.requeue(job)

    def _follow_cluster(self) -> None:
        if time.monotonic() - self._looked < LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        room = min(self.most, self.engine.room())
        for gang in self.engine.stranded():
            self.engine.release(gang)  # its order is answered as closed, and so handed out again
            self.free = [g for g in self.free if g is not gang]
            self.coming = {r: g for r, g in self.coming.items() if g is not gang}
        busy = list({id(gang): gang for _, gang in self.working.values() if gang in self.engine.gangs}.values())
        idle = [*self.coming.values(), *self.free]
        for gang in idle[: max(0, len(idle) + len(busy) - room)]:
            self.engine.release(gang)
            self.free = [g for g in self.free if g is not gang]
            self.coming = {r: g for r, g in self.coming.items() if g is not gang}
        self._see_off(busy[: max(0, len(busy) - room)])
        known = [*self.free, *busy, *self.coming.values()]
        if room > len(known):
            self.coming |= {g.up(): g for g in self.engine.muster(room) if all(g is not k for k in known)}

    def _see_off(self, gangs: list[Gang]) -> None:
        """Busy gangs are to go, those first whose jobs began first: what waits behind such a job is for others."""
        self.leaving = gangs
        for gang in gangs:
            if (job := self._taken_back(gang)) is not None:
                self.decisions.requeue(job)


def _name(job: Any) -> str:
    return f"{job.trial}/{job.rung}"


class Queue:
    """Orders that do not depend on each other, as `Sweep` wants its decisions."""

    def __init__(self, orders: Sequence[Order]):
        self.orders, self.replies = orders, [Reply()] * len(orders)
        self.waiting = deque(Numbered(i) for i in range(len(orders)))

    def next(self) -> Numbered | None:
        return self.waiting.popleft() if self.waiting else None

    def requeue(self, job: Numbered) -> None:
        self.waiting.append(job)

    @property
    def done(self) -> bool:
        return not self.waiting

    def record(self, job: Numbered, reply: Reply) -> None:
        self.replies[job.trial] = reply


@dataclass(frozen=True)
class Numbered:
    """One order of a queue."""

    trial: int
    rung: int = 0


def perform(orders: Sequence[Order], engine: Any, *, most: int) -> list[Reply]:
    """Orders spread over at most `most` gangs; replies in the order given."""
    queue = Queue(orders)
    Sweep(queue, engine, most=most, order_for=lambda job: orders[job.trial], record=queue.record).run()
    return queue.replies
