"""The workers of one gang, seen from one of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from heliostat.engine.pulse import Pulse


@dataclass(frozen=True)
class Group:
    """Rank, world size and device; the collectives the loop and the checkpoints need. World size 1 needs no process group."""

    rank: int = 0
    world: int = 1
    device: str = "cpu"
    pulse: Pulse = field(default_factory=Pulse, compare=False)
    """Every collective that ends is a mark of progress."""

    def barrier(self) -> None:
        """Wait for every worker."""
        if self.world > 1:
            import torch.distributed as dist

            dist.barrier()
        self.pulse.mark()

    def seed(self, value: int) -> None:
        """Seed torch's own generator of this worker's device (dropout draws from it).

        `torch.manual_seed` would queue a call for every CUDA device that may come, with a stack trace, at every step.
        """
        import torch

        torch.default_generator.manual_seed(value)
        if self.device != "cpu":
            torch.cuda.manual_seed(value)

    def mean(self, value: Any) -> Any:
        """The mean over workers of a small tensor."""
        if self.world > 1:
            import torch.distributed as dist

            dist.all_reduce(value)
            value = value / self.world
        self.pulse.mark()
        return value

    def gather(self, value: Any) -> list[Any]:
        """Every worker's picklable `value`, in rank order, on every worker."""
        if self.world == 1:
            return [value]
        import torch.distributed as dist

        out: list[Any] = [None] * self.world
        dist.all_gather_object(out, value)
        self.pulse.mark()
        return out

    def from_first(self, value: Any) -> Any:
        """Rank 0's `value` on every worker."""
        return self.gather(value)[0] if self.world > 1 else value

    def assemble(self, parts: list[tuple[np.ndarray, np.ndarray]], rows: int) -> np.ndarray:
        """One array [rows, ...] from every worker's (row indices, values) pieces; pieces that are shorter than others end in zeros."""
        pieces = [piece for worker in self.gather(parts) for piece in worker]
        shape = np.max([values.shape[1:] for _, values in pieces], axis=0).astype(int)
        out = np.zeros((rows, *shape), np.float32)
        for index, values in pieces:
            out[(index, *(slice(size) for size in values.shape[1:]))] = values
        return out
