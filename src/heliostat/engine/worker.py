"""What runs inside a gang: a Ray Train worker that stays alive and takes orders.

It imports once, joins its process group once and keeps models open between orders. The group lives as long as the gang;
only engines come and go.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from heliostat.engine import failures, notice
from heliostat.engine.group import Group
from heliostat.engine.heartbeat import Heartbeat
from heliostat.engine.mailbox import LEAVE
from heliostat.engine.orders import Reply

LISTEN_EVERY_S = 1.0
"""How often a worker that waits for an order looks whether it has to leave."""


class Worker:
    """One rank of a gang, as orders see it."""

    def __init__(self, group: Group, mailbox: Any, name: str):
        from heliostat.engine.models import Store

        self.group, self.mailbox, self.name = group, mailbox, name
        self.models = Store(group.pulse.opens)
        self.life = 0
        """Which of the gang's groups it belongs to."""
        self.kept: dict[str, Any] = {}
        """What an order leaves for the next one (the training that is still in memory)."""
        self._posted = 0.0

    def due(self, every_s: float) -> bool:
        """Whether nothing was posted for so long; always on ranks that post nothing, so that nobody keeps what is never sent."""
        return self.group.rank != 0 or time.monotonic() - self._posted >= every_s

    def post(self, event: dict[str, Any]) -> None:
        """Report something on the way (rank 0 only), never waiting."""
        if self.group.rank == 0:
            self._posted = time.monotonic()
            self.mailbox.post.remote({"gang": self.name, "time": time.time(), **event})

    def perform(self, order: Any) -> Reply:
        """Perform one order; an error becomes a reply with the reason it belongs to."""
        self.group.pulse.begin(self.current)
        reply = self._tried(order)
        self.group.pulse.end()
        if reply.error is not None:
            self.drop()
        if reply.reason == "memory":
            _give_memory_back()
        return reply

    def _tried(self, order: Any) -> Reply:
        import torch

        torch.set_num_threads(order.threads)
        began, pulse = time.monotonic(), self.group.pulse
        try:
            return Reply(value=order.perform(self), seconds=time.monotonic() - began)
        except Exception as error:  # noqa: BLE001  whatever it is, it is sorted, and whoever waits is told
            reply = failures.failed(error, alone=self.group.world == 1, seconds=time.monotonic() - began, step=pulse.step)
            if reply.reason not in ("request", "diverged", "preempted"):
                traceback.print_exc()
            return reply

    def must_leave(self, reply: Reply) -> bool:
        """Whether only a new group is safe after it: the others may wait inside a collective, or this process is broken."""
        alone = self.group.world == 1
        return reply.reason == "preempted" or (reply.reason in ("exception", "memory", "lost") and not alone) or _broken(reply)

    def answer(self, reply: Reply) -> None:
        """Answer the order at hand; a failure may come from any rank, and one that another worker caused is that one's to tell."""
        import ray

        if reply.error is None:
            if self.group.rank == 0:
                self.mailbox.answer.remote(self.current, reply, self.life)  # calls of one caller arrive in their order: `take` follows
        elif reply.reason != "lost":
            ray.get(self.mailbox.answer.remote(self.current, reply, self.life, leaving=self.must_leave(reply)))

    def drop(self) -> None:
        """Let go of what the last order left."""
        for thing in self.kept.values():
            thing.close()
        self.kept.clear()

    current = -1
    _asked: Any = None

    def ask_ahead(self) -> None:
        """Ask for the next order now: what is left to do of this one does not take long."""
        if self._asked is None:
            self._asked = self.mailbox.take.remote(self.group.rank, self.current, self.life)

    def take(self) -> Any:
        """The next order, None when the gang is closed; waits for one. `failures.Left` when a new group is to take this one's place."""
        import ray

        self.ask_ahead()
        asked, self._asked = self._asked, None
        told = False
        while not ray.wait([asked], timeout=LISTEN_EVERY_S)[0]:
            if not told and notice.given():
                self.mailbox.leave.remote(self.life)  # it answers what is asked, on every rank
                told = True
        number, order = ray.get(asked)
        if number == LEAVE:
            raise failures.Left("preempted", "the workers make place for a new group")
        self.current = number
        return order


def _broken(reply: Reply) -> bool:
    """Whether the process can do nothing more: an error of CUDA's stays with its context."""
    return reply.reason == "exception" and ("CUDA error" in str(reply.error) or "AcceleratorError" in str(reply.error))


def _give_memory_back() -> None:
    """What a failed try held, once nothing refers to it any more."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main(config: dict[str, Any]) -> None:
    """The function Ray Train runs in every worker of a gang: take orders until told to leave."""
    import ray
    import ray.train

    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    _write_to(Path(config["log_folder"]) / f"{config['name']}-rank-{rank}.log")
    group = Group(rank, world, _device(config["gpu"]))
    worker, heartbeat = Worker(group, config["mailbox"], config["name"]), None
    try:
        own = ray.get_runtime_context()
        ray.get(own.current_actor.execute.remote(notice.heed))  # Ray Train leaves the main thread free, and signals need it
        info = {"pid": os.getpid(), "node": own.get_node_id(), "world": world}
        worker.life = ray.get(worker.mailbox.hello.remote(rank, info, own.current_actor))
        heartbeat = Heartbeat(worker.mailbox, group.pulse, rank, worker.life, config["hang_s"]).start()
        worker.ask_ahead()
        _import_ahead()
        while (order := worker.take()) is not None:
            reply = worker.perform(order)
            worker.answer(reply)
            if reply.reason == "lost":
                raise failures.Left("lost", str(reply.error))
    except ray.exceptions.RayActorError:
        return  # the mailbox is gone: nobody wants this gang any more, and starting it again would only hold its CPUs
    finally:
        if heartbeat is not None:
            heartbeat.stop()
        worker.drop()


def _import_ahead() -> None:
    """Import what every training and every answer needs, before the first order is there."""
    import transformers.modeling_layers
    import transformers.modeling_utils  # noqa: F401

    import heliostat.train.loop  # noqa: F401


def _device(gpu: bool) -> str:
    if not gpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        return "cpu"
    import ray.train.torch
    import torch

    device = ray.train.torch.get_device()
    torch.cuda.set_device(device)
    os.environ["LOCAL_RANK"] = str(device.index)  # the device DeepSpeed takes; ranks may be ordered otherwise than the GPUs that are seen
    return str(device)


def _write_to(path: Path) -> None:
    """Everything this process prints goes to `path`: DeepSpeed, transformers and C++ alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
