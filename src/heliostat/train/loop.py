"""The heart: one loop for every training, single runs, trials and students alike.

It sees torch and a prepared engine (anything with `backward`, `step` and `optimizer.param_groups`), so it runs in a
plain unit test. The loss is the weighted mean over the units (rows, or tokens that have a target) of the *global* batch:
the same batch gives the same update whatever the micro-batch, the accumulation or the number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from heliostat.core import seeds
from heliostat.core.errors import Diverged


@dataclass(frozen=True)
class StepDone:
    """One update: the loss is that of its global batch, before the update."""

    step: int
    """Updates done so far, this one included."""
    loss: float
    lr: float
    rows: int


@dataclass(frozen=True)
class Loop:
    """Everything one worker needs to make updates."""

    engine: Any
    """A DeepSpeed engine, or anything that behaves like one."""
    total: Callable[[dict[str, Any]], Any]
    """A batch to the weighted sum of its losses, through the engine."""
    share: Callable[[int], tuple[list[dict[str, Any]], float, int]]
    """Step to (this worker's forward passes, weight of all units of the global batch, rows of the global batch)."""
    lr: Callable[[int], float]
    """Step to learning rate."""
    group: Any
    seed: int

    def run(self, step: int, until: int) -> Iterator[StepDone]:
        """Make updates `step` .. `until` - 1, yielding after each; `Diverged` before a bad update is applied."""
        for now in range(step, until):
            yield self._update(now)

    def _update(self, step: int) -> StepDone:
        rate = self.lr(step)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        self.group.seed(seeds.derive(self.seed, "dropout", step, self.group.rank))
        batches, weight, rows = self.share(step)
        scale = self.group.world * len(batches) / weight  # DeepSpeed divides by both; what is left is the mean over units
        total = torch.zeros((), device=self.group.device)
        for batch in batches:
            loss = self.total(batch) * scale
            total += loss.detach() / len(batches)
            if batch is batches[-1]:
                total = self._agreed(total, step, rate)
            self.engine.backward(loss)
            self.engine.step()
        return StepDone(step + 1, float(total), rate, rows)

    def _agreed(self, total: Any, step: int, rate: float) -> Any:
        """The loss of the global batch, the same on every worker; refuses before the update is applied."""
        total = self.group.mean(total)
        if not math.isfinite(float(total)):
            raise Diverged(f"the loss became {float(total)}", step + 1, rate)
        return total
