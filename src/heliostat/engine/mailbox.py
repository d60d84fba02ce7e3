"""The channel between whoever gives orders and a gang: orders one way, replies and step metrics the other.

Metrics travel here and not through `ray.train.report`, which blocks for about two seconds when called back to back. An
order whose try failed is given again or given up as `failures.decide` says. A group of workers has one *life*: what an
older life still says about an order is not heard, and it is given no more orders.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray

from heliostat.engine import failures
from heliostat.engine.cluster import alive_nodes, free_on_nodes, holds
from heliostat.engine.orders import Reply

MAX_EVENTS = 10_000
MAX_FALLS = 4
"""How often in a row a gang may fall with no order at hand before it is given up."""
LOOK_EVERY_S = 1.0
"""How often a gang is looked at: does it get on, could it be wider?"""
SAY_EVERY_S = 60.0
"""How often it is said that a model is still being opened, however many workers do so."""
DUMP_S = 5.0
"""What a worker that does not get on has to write its stacks, before it is killed."""
CLOSED, LEAVE = -1, -2
"""Numbers of no order: the gang is closed; this group goes, and another one takes its place."""


@dataclass(frozen=True)
class About:
    """What a mailbox knows of its gang."""

    name: str = "gang"
    logs: str = "logs"
    """Where the workers' logs are; for messages."""
    hang_s: float | None = None
    """Seconds without progress after which the workers are killed; None never."""
    most: int = 1
    """Workers it may have; with fewer of them it grows, between two orders, when a node has come or there was room all along."""
    needs: tuple[tuple[str, float], ...] = ()
    """What another worker takes: resource and amount. Empty when it is not to grow into room that was there all along."""


@dataclass
class Given:
    """An order that waits for its reply."""

    order: Any
    reply: asyncio.Future[Reply]
    name: str | None = None
    tries: list[Reply] = field(default_factory=list)
    """Replies of failed tries in the order's present size."""
    step: int = 0
    """How far the try at hand has come, as far as is known."""
    seconds: float = 0.0
    """Time that failed tries took."""
    notes: tuple[str, ...] = ()


class Mailbox:
    """An actor per gang. Every method is a coroutine, so a waiting worker blocks nobody."""

    def __init__(self, about: About | None = None):
        self.about = about or About()
        self.pending: dict[int, Given] = {}
        self.next_number = 0
        self.taken = -1
        """The newest order that a worker of this life has taken."""
        self.life = 0
        self.arrived = asyncio.Condition()
        self.events: list[dict[str, Any]] = []
        self.ready: dict[int, dict[str, Any]] = {}
        """What each worker said when it came up, in the newest life that it said something in."""
        self.present: dict[int, Any] = {}
        """The workers of this life that are up, with their actors."""
        self.marks: dict[int, int] = {}
        self.moved = time.monotonic()
        """When something was last done."""
        self.falls = 0
        self.said = -SAY_EVERY_S
        """When it was last said that a model is being opened."""
        self.known: set[str] = set()
        """Nodes that were up when this life began."""
        self.growing = False
        self.tried = False
        """It came back because there was room, and that has been there ever since: it is not tried twice."""
        self.closed: str | None = None
        self.kill: Callable[[Any], Any] = ray.kill
        self.nodes: Callable[[], set[str]] = alive_nodes
        self.free: Callable[[], list[dict[str, float]]] = free_on_nodes
        self._looking: asyncio.Task[None] | None = None

    async def hold(self, work: Callable[[Any], str]) -> None:
        """Keep workers at this mailbox with `work`, which is given its handle and says in the end why they are gone."""
        await self.close(await self._on_a_thread(lambda: work(ray.get_runtime_context().current_actor)))

    # Whoever gives orders

    async def submit(self, order: Any, name: str | None = None) -> Reply:
        """Queue an order and wait for its reply; with a `name` it can be withdrawn."""
        async with self.arrived:
            if self.closed is not None:
                return Reply(error=self.closed, reason="closed")
            given = Given(order, asyncio.get_running_loop().create_future(), name)
            self._queue(given)
        return await given.reply

    async def withdraw(self, name: str) -> bool:
        """Take back an order that no worker has taken yet; False when one has."""
        number = next((n for n, given in self.pending.items() if given.name == name), None)
        if number is None or number <= self.taken:
            return False
        self._settle(number, Reply(error="the order was withdrawn", reason="closed"))
        return True

    async def up(self) -> None:
        """Wait until every worker of a group has come up, or the mailbox closes."""
        async with self.arrived:
            while self.closed is None and (not self.present or len(self.present) < self._world()):
                await self.arrived.wait()

    async def workers(self) -> dict[int, dict[str, Any]]:
        """What each worker said when it came up."""
        return self.ready

    async def drain(self) -> list[dict[str, Any]]:
        """Events since the last call."""
        events, self.events = self.events, []
        return events

    async def close(self, why: str) -> None:
        """No more orders: workers save and leave, whoever waits is told why."""
        async with self.arrived:
            self.closed = why
            for number in list(self.pending):
                self._settle(number, Reply(error=why, reason="closed"))
            self.arrived.notify_all()

    # Workers

    async def hello(self, rank: int, info: dict[str, Any], actor: Any = None) -> int:
        """A worker is up; the life it belongs to."""
        if self.about.most > 1 and not self.present:
            self.known = await self._on_a_thread(self.nodes)
        async with self.arrived:
            if rank in self.present:  # Ray Train began a new group and none of the old one fell: a node was drained
                self._new_life()
            self.ready = {**(self.ready if self.present else {}), rank: info}
            self.present[rank] = actor
            if self._looking is None:
                self._looking = asyncio.create_task(self._look_on())
            self.arrived.notify_all()
            return self.life

    async def take(self, rank: int, after: int, life: int = 0) -> tuple[int, Any]:
        """The oldest unanswered order newer than `after`; waits for one. `CLOSED` and `LEAVE` tell a worker to go."""
        async with self.arrived:
            while True:
                if self.closed is not None:
                    return CLOSED, None
                if life != self.life:
                    return LEAVE, None
                waiting = [n for n in self.pending if n > after]
                if self.growing and (not waiting or min(waiting) > self.taken):
                    return LEAVE, None
                if waiting:
                    return self._handed(min(waiting))
                await self.arrived.wait()

    async def answer(self, number: int, reply: Reply, life: int = 0, *, leaving: bool = False) -> None:
        """A worker answers an order; only the first answer counts. `leaving`: its group cannot go on after it."""
        async with self.arrived:
            if number not in self.pending or (reply.error is not None and life != self.life):
                return
            self.falls = 0
            if reply.error is None:
                self._settle(number, reply)
            else:
                self._failed(number, reply)
            if leaving and life == self.life:
                self._new_life()

    async def leave(self, life: int) -> None:
        """A worker with no order at hand was told to leave, and its group with it."""
        async with self.arrived:
            if life == self.life:
                self._new_life()

    async def beat(self, rank: int, life: int, marks: int, number: int, step: int) -> bool:
        """A worker's heartbeat: how much it has got done, and of which order. Whether it is to save and leave."""
        if life != self.life:
            return True
        if self.marks.get(rank) != marks:
            self.marks[rank], self.moved = marks, time.monotonic()
        if number in self.pending:
            self.pending[number].step = max(step, self.pending[number].step)
        return self.closed is not None

    async def opening(self, model: str, seconds: float) -> None:
        """A worker is opening a model, and has been for so long."""
        now = time.monotonic()
        if now - self.said >= SAY_EVERY_S:
            self.said = now
            self._tell(f"the model '{model}' is being downloaded or opened, for {seconds:.0f} s so far")

    async def post(self, event: dict[str, Any]) -> None:
        """A worker reports something on the way; the oldest events go when nobody reads."""
        self.events.append(event)
        del self.events[:-MAX_EVENTS]

    # Failures

    @property
    def at_hand(self) -> int | None:
        """The order the workers are on."""
        return min((n for n in self.pending if n <= self.taken), default=None)

    async def fell(self, reply: Reply) -> str | None:
        """Ray Train lost the group, for the reason of `reply`; None when it may start another one, or why it may not."""
        async with self.arrived:
            number = self.at_hand
            if number is not None:
                self.falls = 0
                self._failed(number, reply.model_copy(update={"step": self.pending[number].step}))
            elif reply.reason != "preempted":
                self.falls += 1
            self._new_life()
        if self.falls >= MAX_FALLS:
            await self.close(f"its workers fell {self.falls} times in a row ({reply.error}); see {self.about.logs}")
        return self.closed

    async def look(self, now: float) -> None:
        """Kill a group that does not get on; let one go that could come back wider."""
        async with self.arrived:
            number, hang_s = self.at_hand, self.about.hang_s
            if number is not None and hang_s is not None and now - self.moved > hang_s + DUMP_S:
                self._hung(number, hang_s)
            narrow = self.closed is None and 0 < len(self.present) == self._world() < self.about.most
        why = await self._could_grow() if narrow and not self.growing else None
        if why is not None:
            async with self.arrived:
                self.growing = True
                self._tell(f"{why}: the gang comes back with more workers after the order at hand")
                self.arrived.notify_all()

    async def _could_grow(self) -> str | None:
        """Why more workers could come up; None when they could not."""
        nodes = await self._on_a_thread(self.nodes)
        if nodes - self.known:
            return "a node has come"
        if not self.about.needs:
            return None
        room = holds(await self._on_a_thread(self.free), dict(self.about.needs))
        again, self.tried = room and self.tried, room  # others may want it too: if it does not come back wider, it does not try again
        return "there is room" if room and not again else None

    async def _look_on(self) -> None:
        while self.closed is None:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look(time.monotonic())

    @staticmethod
    async def _on_a_thread(asked: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, asked)

    def _hung(self, number: int, hang_s: float) -> None:
        stacks = f"{self.about.logs}/{self.about.name}-rank-*.log"
        error = f"no progress for {hang_s:g} s; the stacks of its workers are in {stacks}"
        self._failed(number, Reply(error=error, reason="hang", seconds=hang_s, step=self.pending[number].step))
        actors = [actor for actor in self.present.values() if actor is not None]
        self._new_life()
        for actor in actors:
            self.kill(actor)

    def _failed(self, number: int, reply: Reply) -> None:
        """A try of an order has failed: it is given again, or given up."""
        given = self.pending[number]
        given.tries.append(reply)
        given.seconds += reply.seconds
        smaller = given.order.smaller()
        verdict = failures.decide(given.tries, divisible=smaller is not None)
        if isinstance(verdict, failures.GiveUp):
            self._settle(number, verdict.reply.model_copy(update={"seconds": 0.0}))
            return
        self._tell(verdict.said)
        given.notes += (verdict.said,)
        if verdict.smaller:
            given.order, given.tries = smaller, []
        given.step = 0
        del self.pending[number]
        self._queue(given)

    def _tell(self, text: str) -> None:
        self.events.append({"kind": "told", "gang": self.about.name, "time": time.time(), "text": f"{self.about.name}: {text}"})

    # The queue; whoever calls these holds the lock, or does not wait on the way

    def _queue(self, given: Given) -> None:
        self.pending[self.next_number] = given
        self.next_number += 1
        self.arrived.notify_all()

    def _handed(self, number: int) -> tuple[int, Any]:
        if number > self.taken:
            self.taken, self.moved = number, time.monotonic()
        return number, self.pending[number].order

    def _settle(self, number: int, reply: Reply) -> None:
        given = self.pending.pop(number)
        if not given.reply.done():
            given.reply.set_result(reply.model_copy(update={"seconds": reply.seconds + given.seconds, "notes": given.notes}))

    def _new_life(self) -> None:
        """The group of now is over. An order it had at hand is given to the next one."""
        self.life += 1
        self.taken, self.growing = -1, False
        self.present, self.marks = {}, {}
        self.arrived.notify_all()

    def _world(self) -> int:
        """Workers of this life's group."""
        return max((self.ready[rank].get("world", 1) for rank in self.present), default=0)


def open_mailbox(about: About) -> Any:
    """A new mailbox actor, on the node of whoever gives the orders: it goes when they do, and not with a worker's node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)  # a soft one is not kept to
    return ray.remote(Mailbox).options(num_cpus=0, max_concurrency=10_000, scheduling_strategy=here).remote(about)
