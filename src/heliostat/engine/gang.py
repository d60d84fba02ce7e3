"""A gang, seen from the driver: a Ray Train run whose workers stay alive and take orders through a mailbox.

The nested way, one `TorchTrainer.fit()` per trial, costs tens of seconds each and leaks placement groups when a trial is
stopped. A gang starts once; its next trial starts in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import ray

from heliostat.core.layout import Layout
from heliostat.engine.cluster import give_back
from heliostat.engine.mailbox import About, open_mailbox
from heliostat.engine.orders import Order, Reply

HELLO_S = 5.0
"""Seconds its mailbox is waited for."""


@dataclass
class Gang:
    """One long-lived group of workers."""

    name: str
    layout: Layout
    log_folder: Path
    most: int | None = None
    """Workers it may have, when the cluster has room for them; None is as many as the layout says."""
    mailbox: Any = None
    holds: int | None = None
    """The trial whose training is still in the workers' memory."""
    _work: Any = field(default=None, repr=False)
    """A Ray reference that is there when the workers are gone."""

    def start(self) -> Gang:
        """Start the workers in the background; orders may be given at once and wait until they are up."""
        self.most = self.most or self.layout.workers
        needs = {"CPU": self.layout.cpus_per_worker, "GPU": self.layout.gpus_per_worker} if self.layout.is_elastic() else {}
        self.mailbox = open_mailbox(About(self.name, str(self.log_folder), self.layout.hang_s, self.most, tuple(needs.items())))
        self._work = self.mailbox.hold.remote(partial(_work, self.name, self.layout, self.log_folder, self.most))
        return self

    def nodes(self) -> set[str]:
        """The nodes its workers last said hello from; empty while none has."""
        try:
            workers = ray.get(self.mailbox.workers.remote(), timeout=HELLO_S)
        except ray.exceptions.RayError:  # its mailbox is gone: no node that is alive holds it
            return {"none"}
        return {info["node"] for info in workers.values()}

    def up(self) -> Any:
        """A Ray reference that is there when all workers have come up."""
        return self.mailbox.up.remote()

    def order(self, order: Order, name: str | None = None) -> Any:
        """Queue an order; a Ray reference to its `Reply`. With a `name` it can be withdrawn."""
        return self.mailbox.submit.remote(order, name)

    def withdraw(self, name: str) -> bool:
        """Take back the order of that name, unless a worker has taken it."""
        if self.mailbox is None:
            return False
        try:
            return ray.get(self.mailbox.withdraw.remote(name), timeout=HELLO_S)
        except ray.exceptions.RayError:  # the gang is lost, and its orders are answered as such
            return False

    def perform(self, order: Order) -> Reply:
        """Queue an order and wait for its reply."""
        try:
            return ray.get(self.order(order))
        except ray.exceptions.RayActorError as error:
            return Reply(error=f"the gang was lost: {type(error).__name__}", reason="closed")

    def dismiss(self) -> None:
        """Tell the workers to leave after the order at hand; returns at once."""
        if self.mailbox is not None:
            self.mailbox.close.remote("the gang was closed")

    def close(self, wait_s: float = 20.0, *, leaving: Callable[[Gang], None] = lambda gang: None) -> None:
        """Dismiss the workers, wait until their resources are free, let `leaving` take what they posted last."""
        if self.mailbox is None:
            return
        self.dismiss()
        ray.wait([self._work], timeout=wait_s)
        leaving(self)
        mailbox, self.mailbox = self.mailbox, None
        ray.kill(mailbox)
        give_back(mailbox._actor_id.hex())


def _work(name: str, layout: Layout, log_folder: Path, most: int, mailbox: Any) -> str:
    from heliostat.engine import crew

    return crew.work(name, layout, log_folder, most, mailbox)
