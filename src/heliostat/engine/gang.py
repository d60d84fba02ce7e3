"""A gang, seen from the driver: a Ray Train run whose workers stay alive and take orders through a mailbox.

The nested way, one `TorchTrainer.fit()` per trial, costs tens of seconds each and leaks placement groups when a trial is
stopped. A gang starts once; its next trial starts in milliseconds.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray

from heliostat.core.layout import Layout
from heliostat.engine import failures, worker
from heliostat.engine.cluster import DATA_CPUS
from heliostat.engine.mailbox import About, open_mailbox
from heliostat.engine.orders import Order, Reply

FOR_EVER = -1
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
    _thread: threading.Thread | None = field(default=None, repr=False)

    def start(self) -> Gang:
        """Start the workers in the background; orders may be given at once and wait until they are up."""
        self.most = self.most or self.layout.workers
        needs = {"CPU": self.layout.cpus_per_worker + DATA_CPUS, "GPU": self.layout.gpus_per_worker} if self.layout.is_elastic() else {}
        self.mailbox = open_mailbox(About(self.name, str(self.log_folder), self.layout.hang_s, self.most, tuple(needs.items())))
        self._thread = threading.Thread(target=self._hold, name=self.name, daemon=True)
        self._thread.start()
        return self

    def _hold(self) -> None:
        from ray.train import FailureConfig, RunConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        from heliostat.engine.restarts import Restarts

        gpu = self.layout.gpus_per_worker > 0
        mailbox, why = self.mailbox, "the gang was closed"
        told = {"mailbox": mailbox, "name": self.name, "log_folder": str(self.log_folder), "gpu": gpu, "hang_s": self.layout.hang_s}
        try:
            TorchTrainer(
                worker.main,
                train_loop_config=told,
                scaling_config=self._scaling(gpu),
                torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
                run_config=RunConfig(
                    name=self.name,
                    storage_path=str(self.log_folder / "ray-train"),
                    failure_config=FailureConfig(max_failures=FOR_EVER),
                    callbacks=[Restarts(mailbox)],
                ),
            ).fit()
        except Exception as error:  # noqa: BLE001  whatever it is, whoever waits on the mailbox must be told
            why = f"{self.name} stopped: {failures.one_line(error)}; see {self.log_folder}"
        try:
            ray.get(mailbox.close.remote(why))
        except ray.exceptions.RayError:
            return  # the cluster is gone, and with it whoever waited

    def _scaling(self, gpu: bool) -> Any:
        from ray.train import ScalingConfig

        least, most = self.layout.fewest(), self.most or self.layout.workers
        resources = {"CPU": self.layout.cpus_per_worker, **({"GPU": self.layout.gpus_per_worker} if gpu else {})}
        return ScalingConfig(
            num_workers=(least, most) if least < most else most,
            use_gpu=gpu,
            resources_per_worker=resources,
            elastic_resize_monitor_interval_s=math.inf,  # it would end a group in the middle of an order; ours grows between two
        )

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
        if self._thread is not None:
            self._thread.join(wait_s)
        leaving(self)
        mailbox, self.mailbox = self.mailbox, None
        ray.kill(mailbox)
