"""The heart: one loop for every training, single runs, trials and students alike.

It sees torch and a prepared engine (anything with `backward`, `step` and `optimizer.param_groups`), so it runs in a
plain unit test. The loss is the weighted mean over the units (rows, or tokens that have a target) of the *global* batch:
the same batch gives the same update whatever the micro-batch, the accumulation or the number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from heliostat.core import seeds
from heliostat.core.errors import Diverged
from heliostat.engine.rates import LR_SCALE


@dataclass(frozen=True)
class StepDone:
    """One update: the loss is that of its global batch, before the update."""

    step: int
    """Updates done so far, this one included."""
    loss: float
    lr: float
    rows: int
    leaving: bool = False
    """Some worker was told to leave: the training is to stop here."""
    skipped: bool = False
    """Its gradients overflowed in 16 bits, and DeepSpeed did not make it."""


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
    """Step to learning rate; a parameter group with `LR_SCALE` gets that share of it."""
    group: Any
    seed: int
    leaving: Callable[[], bool] = lambda: False
    """Whether this worker was told to leave."""
    names: Callable[[int], Sequence[str]] = lambda step: ()
    """Step to the ids of the first rows of its global batch, for messages."""

    def run(self, step: int, until: int) -> Iterator[StepDone]:
        """Make updates `step` .. `until` - 1, yielding after each; `Diverged` before a bad update is applied."""
        for now in range(step, until):
            yield self._update(now)

    def _update(self, step: int) -> StepDone:
        rate = self.lr(step)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate * group.get(LR_SCALE, 1.0)
        self.group.seed(seeds.derive(self.seed, "dropout", step, self.group.rank))
        batches, weight, rows = self.share(step)
        scale = self.group.world * len(batches) / weight  # DeepSpeed divides by both; what is left is the mean over units
        total, mean, leaving = torch.zeros((), device=self.group.device), math.nan, False
        for batch in batches:
            loss = self.total(batch) * scale
            total += loss.detach() / len(batches)
            if batch is batches[-1]:
                mean, leaving = self._agreed(total, step, rate)
            self.engine.backward(loss)
            self.engine.step()
        return StepDone(step + 1, mean, rate, rows, leaving, skipped=bool(getattr(self.engine.optimizer, "overflow", False)))

    def _agreed(self, total: Any, step: int, rate: float) -> tuple[float, bool]:
        """(the loss of the global batch, whether to stop after it), the same on every worker; refuses before the update is applied."""
        loss, leaving = self.group.mean(torch.stack([total, total.new_tensor(float(self.leaving()))])).tolist()
        if not math.isfinite(loss):
            raise Diverged(f"the loss became {loss}", step + 1, rate, self.names(step))
        return loss, leaving > 0
