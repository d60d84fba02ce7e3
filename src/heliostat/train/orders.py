"""Orders about training: bring a training to a step, export its best step.

`Train` goes on with what the gang holds in memory, or else from the training's last valid checkpoint, or else from the
start; the three give the same weights. What a training has reached is in `result.json` beside its checkpoints.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from heliostat.core.layout import passes
from heliostat.engine import adapters, checkpoints, models
from heliostat.engine.orders import ModelSource, Order
from heliostat.engine.predict import ROWS, batch_of
from heliostat.engine.streams import opened, processor
from heliostat.train.config import TrainConfig
from heliostat.train.dividing import Footprint, own_bytes, stages
from heliostat.train.reached import as_of, best_step, is_whole, result_of
from heliostat.train.session import Session
from heliostat.train.starting import trainable


class Training(Order):
    """What is trained, on what, how: everything that decides the weights, and the layout's part of it."""

    key: str
    """Names the training; equal keys are the same training."""
    folder: Path
    """Checkpoints, curve and best step of this training live here."""
    model: ModelSource
    labels: tuple[str, ...]
    train: TrainConfig
    train_rows: Path
    valid_rows: Path
    fold: tuple[int, int, int] | None = None
    """(which, of how many, seed): hold that fold of the train and valid rows out instead of the valid rows."""
    objectives: tuple[Any, ...] = ()
    """Members of tune.objectives, measured whenever a validated step is the best so far."""
    teacher: Path | None = None
    """`.npy` of the teacher's log-probabilities [train rows, labels] in corpus order."""
    losses: Path | None = None
    """`.npy` of a reference model's losses [train rows] in corpus order, for a curriculum that asks for them."""
    seed: int
    total: int
    """Steps of the whole training: the length of its schedule."""
    metric: str
    """Member of metrics that says which validated step is best."""
    settings: dict[str, Any] = {}
    """Config path to the value that a trial tries; empty for a training that is no trial. What other settings reached is not taken."""
    zero: int | Literal["auto"] = 0
    offload: str = "none"
    memory_gb: float | None = None
    compiled: bool = False
    """Whether the layers are compiled for the GPU."""
    frozen_gb: float = 0.0
    """GiB on each node for what frozen layers give."""
    batch_rows: int | None = None
    """Rows of one update over all workers, about so many, where it is a number of tokens that counts; None is `train.batch`."""
    micro_rows: int
    """Rows per worker and forward pass that the layout asks for."""
    halved: int = 0
    """How often they were halved because they did not fit."""

    def perform(self, worker: Any) -> dict[str, Any]:
        raise TypeError("a Training is performed through Train or Export")

    def rows_at_once(self) -> int:
        """Rows per worker and forward pass."""
        return -(-self.micro_rows // 2**self.halved)

    def rows_scored_at_once(self) -> int:
        """Rows per worker and forward pass of a validation, which keeps no gradients: far less memory for a row."""
        return max(1, min(4 * self.rows_at_once(), ROWS >> self.halved)) if self.halved else ROWS

    def stage(self, module: Any, group: Any) -> int:
        """The ZeRO stage that this training of `module` has; every worker must ask."""
        if self.zero != "auto":
            return self.zero
        from heliostat.engine.vocabulary import untrained

        params = list(module.parameters())
        trained = sum(p.numel() for p in params if p.requires_grad)
        held = Footprint(
            untrained(module) + sum(p.numel() for p in params), trained, self.train.optimizer.state_bytes, group.world, self.offload
        )
        room = min(group.gather(own_bytes(self.memory_gb, group.device, self.threads)))
        return held.cheapest(room, stages(self.train, self.offload, group.world))

    def passes(self, world: int) -> int:
        """Forward passes per worker and update."""
        return passes(self.batch_rows or self.train.batch, world, self.rows_at_once())


class Train(Training):
    """Bring the training to `until` steps, validating on the way, and save there."""

    until: int
    """Steps at the end of this order."""
    resumable: bool = True
    """Whether optimiser state is saved at `until`, so that a later order can go on from disk."""
    keep_all: bool = False
    """Keep the checkpoint of every order and not the last one only, for others to go on from."""
    behind: bool = False
    """Reply before what is saved is written: the next order of the training begins to train at once. A kill can cost both."""
    parent: tuple[Path, int] | None = None
    """(folder of another training, step): go on from its checkpoint there instead of from this training's own state."""

    def perform(self, worker: Any) -> dict[str, Any]:
        before = result_of(self.folder, self.settings)
        made = as_of(before, self.until)
        if made and (made["over"] or self.until >= self.total) and not is_whole(self.folder, before):
            made = None  # nobody could export it: it is made again
        found = (made, before.get("halved", 0), before.get("step", 0))
        reached, halved, farthest = worker.group.from_first(found)
        if reached:
            return reached
        order = self.model_copy(update={"halved": max(self.halved, halved)})  # what an earlier order had to find out is known
        session = worker.kept.get("session")
        if session is None or not session.goes_on_with(order, farthest):
            worker.drop()
            session = worker.kept["session"] = Session(order, worker)
        return session.advance(order)

    def smaller(self) -> Self | None:
        least = max(self.rows_at_once(), self.rows_scored_at_once()) == 1
        return None if least else self.model_copy(update={"halved": self.halved + 1})


class Export(Training):
    """Write the training's best step to `out` as a model folder, reopen it and verify it."""

    out: Path

    def perform(self, worker: Any) -> dict[str, Any]:
        if worker.group.rank:
            return {}
        best = best_step(self.folder, self.settings, self.total)
        assert best is not None, f"no valid best step in {self.folder}"
        module = trainable(self, worker, to_export=True)
        module.load_state_dict(checkpoints.weights(best), strict=False)
        module.eval()
        rows, prepared = opened(self.valid_rows), processor(self.task, self.model.folder, self.model.revision)
        probe = batch_of(rows, np.arange(min(8, self.task.together, len(rows))), self.task, prepared, (self.seed, "probe"))
        before = models.raw_logits(self.task, module, probe)
        base = worker.models.opened(self.model, self.labels, self.task).to("cpu")  # answers may have been asked of it on a GPU
        return models.export(
            adapters.merged(module), self.out, base=base, source=self.model, processor=prepared, task=self.task, probe=(probe, before)
        )
