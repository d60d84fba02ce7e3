"""The channel between whoever gives orders and a gang: orders one way, replies and step metrics the other.

Metrics travel here and not through `ray.train.report`, which blocks for about two seconds when called back to back. An
order that got no reply when the gang was restarted is handed out again, a bounded number of times.
"""

from __future__ import annotations

import asyncio
from typing import Any

import ray

from heliostat.engine.orders import Reply

MAX_DELIVERIES = 3
MAX_EVENTS = 10_000


class Mailbox:
    """An actor per gang. Every method is a coroutine, so a waiting worker blocks nobody."""

    def __init__(self) -> None:
        self.pending: dict[int, Any] = {}
        self.replies: dict[int, asyncio.Future[Reply]] = {}
        self.deliveries: dict[int, int] = {}
        self.next_number = 0
        self.named: dict[str, int] = {}
        self.taken = -1
        """The newest order that a worker has taken."""
        self.arrived = asyncio.Condition()
        self.events: list[dict[str, Any]] = []
        self.ready: dict[int, dict[str, Any]] = {}
        self.closed: str | None = None

    async def submit(self, order: Any, name: str | None = None) -> Reply:
        """Queue an order and wait for its reply; with a `name` it can be withdrawn."""
        async with self.arrived:
            if self.closed is not None:
                return Reply(error=self.closed, reason="closed")
            number = self.next_number
            self.next_number += 1
            self.replies[number] = asyncio.get_running_loop().create_future()
            self.pending[number] = order
            if name is not None:
                self.named[name] = number
            self.arrived.notify_all()
        return await self.replies[number]

    async def withdraw(self, name: str) -> bool:
        """Take back an order that no worker has taken yet; False when one has."""
        number = self.named.pop(name, -1)
        if number not in self.pending or number <= self.taken:
            return False
        await self.answer(number, Reply(error="the order was withdrawn", reason="closed"))
        return True

    async def take(self, rank: int, after: int) -> tuple[int, Any]:
        """The oldest unanswered order newer than `after`; waits for one. `(-1, None)` tells a worker to leave."""
        async with self.arrived:
            while True:
                waiting = [n for n in self.pending if n > after]
                if waiting:
                    self.taken = max(self.taken, min(waiting))
                    return min(waiting), self.pending[min(waiting)]
                if self.closed is not None:
                    return -1, None
                await self.arrived.wait()

    async def hello(self, rank: int, info: dict[str, Any]) -> None:
        """A worker is up. When it comes back after a restart, the order it died on is counted as delivered once more."""
        if rank == 0 and rank in self.ready:
            for number in sorted(self.pending)[:1]:
                self.deliveries[number] = self.deliveries.get(number, 1) + 1
                if self.deliveries[number] > MAX_DELIVERIES:
                    message = f"its workers died {MAX_DELIVERIES} times while working on it (out of memory?); see the logs of the gang"
                    await self.answer(number, Reply(error=message, reason="lost"))
        async with self.arrived:
            self.ready[rank] = info
            self.arrived.notify_all()

    async def up(self, world: int) -> None:
        """Wait until `world` workers have come up, or the mailbox closes."""
        async with self.arrived:
            while len(self.ready) < world and self.closed is None:
                await self.arrived.wait()

    async def workers(self) -> dict[int, dict[str, Any]]:
        """What each worker said when it came up."""
        return self.ready

    async def answer(self, number: int, reply: Reply) -> None:
        """A worker answers an order; only the first answer counts."""
        self.pending.pop(number, None)
        self.named = {name: n for name, n in self.named.items() if n != number}
        future = self.replies.pop(number, None)
        if future is not None and not future.done():
            future.set_result(reply)

    async def post(self, event: dict[str, Any]) -> None:
        """A worker reports something on the way; the oldest events go when nobody reads."""
        self.events.append(event)
        del self.events[:-MAX_EVENTS]

    async def drain(self) -> list[dict[str, Any]]:
        """Events since the last call."""
        events, self.events = self.events, []
        return events

    async def close(self, why: str) -> None:
        """No more orders: workers leave, whoever waits is told why."""
        async with self.arrived:
            self.closed = why
            for number in list(self.pending):
                await self.answer(number, Reply(error=why, reason="closed"))
            self.arrived.notify_all()


def open_mailbox() -> Any:
    """A new mailbox actor."""
    return ray.remote(Mailbox).options(num_cpus=0, max_concurrency=10_000).remote()
