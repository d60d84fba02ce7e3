"""What runs inside a gang: a Ray Train worker that stays alive and takes orders.

It imports once, joins its process group once and keeps models open between orders. The group lives as long as the gang;
only DeepSpeed engines come and go.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from heliostat.engine.group import Group
from heliostat.engine.orders import Reply


class Worker:
    """One rank of a gang, as orders see it."""

    def __init__(self, group: Group, mailbox: Any, name: str):
        from heliostat.engine.models import Store

        self.group, self.mailbox, self.name = group, mailbox, name
        self.models = Store()
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
        import torch

        from heliostat.core.errors import Diverged, UserError

        torch.set_num_threads(order.threads)
        began = time.monotonic()
        try:
            return Reply(value=order.perform(self), seconds=time.monotonic() - began)
        except Diverged as error:
            return self._failed("diverged", str(error), began)
        except UserError as error:
            return self._failed("request", str(error), began)
        except Exception as error:
            traceback.print_exc()
            if self.group.world > 1:  # the others may wait inside a collective: only a new group is safe
                self._answer_and_leave(Reply(error=one_line(error), reason="exception", seconds=time.monotonic() - began))
                raise
            return self._failed("exception", one_line(error), began)

    def _failed(self, reason: Any, error: str, began: float) -> Reply:
        self.drop()
        return Reply(error=error, reason=reason, seconds=time.monotonic() - began)

    def _answer_and_leave(self, reply: Reply) -> None:
        import ray

        ray.get(self.mailbox.answer.remote(self.current, reply))

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
            self._asked = self.mailbox.take.remote(self.group.rank, self.current)

    def take(self) -> tuple[int, Any]:
        """The next order; waits for one."""
        import ray

        self.ask_ahead()
        asked, self._asked = self._asked, None
        self.current, order = ray.get(asked)
        return self.current, order


def one_line(error: BaseException) -> str:
    """An exception as `Type: message`, without its traceback."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[-1] if text else ''}"


def main(config: dict[str, Any]) -> None:
    """The function Ray Train runs in every worker of a gang: take orders until told to leave."""
    import ray
    import ray.train

    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    _write_to(Path(config["log_folder"]) / f"{config['name']}-rank-{rank}.log")
    group = Group(rank, world, _device(config["gpu"]))
    worker = Worker(group, config["mailbox"], config["name"])
    try:
        ray.get(worker.mailbox.hello.remote(rank, {"pid": os.getpid(), "node": ray.get_runtime_context().get_node_id()}))
        while True:
            number, order = worker.take()
            if order is None:
                return
            reply = worker.perform(order)
            if rank == 0:
                worker.mailbox.answer.remote(number, reply)  # calls of one caller arrive in their order: `take` follows
    except ray.exceptions.RayActorError:
        return  # the mailbox is gone: nobody wants this gang any more, and starting it again would only hold its CPUs
    finally:
        worker.drop()


def _device(gpu: bool) -> str:
    if not gpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        return "cpu"
    import ray.train.torch

    return str(ray.train.torch.get_device())


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
