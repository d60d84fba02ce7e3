"""Orders about training: bring a training to a step, export its best step.

`Train` goes on with what the gang holds in memory, or else from the training's last valid checkpoint, or else from the
start; the three give the same weights. What a training has reached is in `result.json` beside its checkpoints.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heliostat.core import seeds
from heliostat.core.errors import Diverged, RunFailed
from heliostat.core.family import find
from heliostat.core.manifest import read_json
from heliostat.engine import adapters, checkpoints, models, states, zero
from heliostat.engine.orders import ModelSource, Order
from heliostat.engine.predict import columns, forward, on, pad_id
from heliostat.engine.streams import Batches, Micro, Rows, open_tokenizer, opened, steps_per_epoch
from heliostat.train.config import TrainConfig
from heliostat.train.folds import folds
from heliostat.train.reached import RESULT, best_step, newest, settle

if TYPE_CHECKING:
    from heliostat.train.loop import StepDone

EVENTS_EVERY_S = 0.5


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
    seed: int
    total: int
    """Steps of the whole training: the length of its schedule."""
    metric: str
    """Member of metrics that says which validated step is best."""
    zero: int = 0
    offload: str = "none"
    micro_rows: int
    accumulation: int

    def perform(self, worker: Any) -> dict[str, Any]:
        raise TypeError("a Training is performed through Train or Export")


class Train(Training):
    """Bring the training to `until` steps, validating on the way, and save there."""

    until: int
    """Steps at the end of this order."""
    resumable: bool = True
    """Whether optimiser state is saved at `until`, so that a later order can go on from disk."""
    keep_all: bool = False
    """Keep the checkpoint of every order and not the last one only, for others to go on from."""
    parent: tuple[Path, int] | None = None
    """(folder of another training, step): go on from its checkpoint there instead of from this training's own state."""

    def perform(self, worker: Any) -> dict[str, Any]:
        before = read_json(self.folder / RESULT)
        if worker.group.from_first(bool(before and before["step"] >= self.until)):
            return read_json(self.folder / RESULT)
        session = worker.kept.get("session")
        if session is None or not session.goes_on_with(self):
            worker.drop()
            session = worker.kept["session"] = Session(self, worker)
        session.advance(self)
        return read_json(self.folder / RESULT)


class Export(Training):
    """Write the training's best step to `out` as a model folder, reopen it and verify it."""

    out: Path

    def perform(self, worker: Any) -> dict[str, Any]:
        if worker.group.rank:
            return {}
        best = best_step(self.folder)
        assert best is not None, f"no valid best step in {self.folder}"
        module = trainable(self, worker)
        module.load_state_dict(checkpoints.weights(best), strict=False)
        module.eval()
        rows, tokenizer = opened(self.valid_rows), open_tokenizer(self.model.folder)
        probe = self.task.collate(columns(rows, np.arange(min(8, len(rows)))), pad_id(self.model.folder))
        before = _logits(module, probe, self.task)
        base = worker.models.opened(self.model, self.labels, self.task)
        return models.export(adapters.merged(module), base, tokenizer, self.out, task=self.task, before=before, probe=probe)


def _logits(module: Any, batch: dict[str, Any], task: Any) -> np.ndarray:
    import torch

    with torch.no_grad():
        return task.logits(module, batch).float().numpy()


def trainable(order: Training, worker: Any) -> Any:
    """The model as training starts from it: copied from the gang's, new head drawn, adapters in place."""
    module = worker.models.fresh(order.model, order.labels, order.task, order.seed)
    if order.train.dropout is not None:
        models.set_dropout(module, order.train.dropout)
    if order.train.freeze:
        models.freeze(module, order.train.freeze)
    if order.train.gradient_checkpointing:
        module.gradient_checkpointing_enable()
    if order.train.lora is None:
        return module
    missing = worker.models.missing(order.model, order.labels, order.task)
    return adapters.wrap(module, order.train.lora.dump(), missing, seeds.derive(order.seed, "adapter"))


class Session:
    """One training in the memory of a gang: its DeepSpeed engine, where it is, its best step."""

    def __init__(self, order: Train, worker: Any):
        self.order, self.worker = order, worker
        group = worker.group
        self.rows, self.valid = rows_of(order)
        self.pad = pad_id(order.model.folder)
        self.teacher = np.load(order.teacher, mmap_mode="r") if order.teacher else None
        self.targets_N = self.valid.column("labels")
        self.metric: Any = find("metrics", order.metric)()
        self.batches = Batches(len(self.rows), order.train.batch, order.accumulation, order.seed, group.rank, group.world)
        self.step, self.busy_s, self._began = 0, 0.0, time.monotonic()
        self.curve: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.best_weights: dict[str, Any] | None = None
        self.engine = self._open()

    def _open(self) -> Any:
        order, group = self.order, self.worker.group
        module = trainable(order, self.worker)
        saved = self._saved()
        if saved:
            states.load_weights(module, saved)
        module.to(group.device)
        train = order.train
        plan = zero.ZeroPlan(order.zero, order.offload, train.precision, train.clip, order.micro_rows, order.accumulation, group.world)
        optimizer = train.optimizer.build(zero.parameter_groups(module), order.zero)
        engine = zero.start(module, optimizer, plan)
        if saved:
            states.restore(engine, saved)
            facts = checkpoints.facts(saved)
            self.step, self.curve, self.busy_s = facts["step"], facts["curve"], facts["busy_s"]
            self.best = None if order.parent else facts["best"]  # the weights of a parent's best step are the parent's
        return engine

    def _saved(self) -> Path | None:
        """The checkpoint to go on from; None is the start."""
        order, group = self.order, self.worker.group
        if order.parent is not None:
            folder, step = order.parent
            saved = checkpoints.at(folder / "latest", step)
            if not group.from_first(group.rank == 0 and checkpoints.is_valid(saved)):
                raise RunFailed(f"the checkpoint '{saved}' to go on from is not there or not whole")
            return saved
        name = group.from_first(newest(order.folder) if group.rank == 0 else None)
        return order.folder / "latest" / name if name else None

    def goes_on_with(self, order: Train) -> bool:
        """Whether what is in memory is where `order` begins."""
        same = self.order.key == order.key and self.order.train == order.train
        return same and order.parent is None and self.step <= order.until

    def advance(self, order: Train) -> None:
        """Train to `order.until`, validate where the config says and at the end, save."""
        from heliostat.train.loop import Loop

        self.order = order
        self._began, already = time.monotonic(), self.busy_s
        loop = Loop(self.engine, self._logits, order.train.objective.per_row, self._share, self._lr, self.worker.group, order.seed)
        every = validation_interval(order.train, len(self.rows))
        for done in loop.run(self.step, order.until):
            self.step = done.step
            self._tell(done)
            if done.step % every == 0 or done.step == order.until or done.step == order.total:
                self._validate(done)
                self.busy_s = already + time.monotonic() - self._began
        self.worker.ask_ahead()
        self._save(order)

    def _lr(self, step: int) -> float:
        return self.order.train.optimizer.lr * self.order.train.schedule.factor(step, self.order.total)

    def _logits(self, batch: dict[str, Any]) -> Any:
        return self.order.task.logits(self.engine, batch)

    def _share(self, step: int) -> tuple[list[dict[str, Any]], float, int]:
        whole = self.batches.whole(step)
        weights_N = self.rows.column("weight")
        return [self._batch(micro, weights_N) for micro in self.batches.share(step)], float(weights_N[whole].sum()), len(whole)

    def _batch(self, micro: Micro, weights_N: np.ndarray) -> dict[str, Any]:
        import torch

        batch = self.order.task.collate(columns(self.rows, micro.rows), self.pad)
        batch["weight"] = torch.as_tensor(weights_N[micro.rows] * (0.0 if micro.filler else 1.0))
        if self.teacher is not None:
            batch["teacher"] = torch.as_tensor(np.asarray(self.teacher[micro.rows]))
        return on(batch, self.worker.group.device)

    def _tell(self, done: StepDone) -> None:
        order = self.order
        told = {"kind": "step", "key": order.key, "step": done.step, "until": order.until, "total": order.total}
        self.worker.post(told | {"loss": done.loss, "lr": done.lr, "rows": done.rows}, every_s=EVENTS_EVERY_S)

    def _validate(self, done: StepDone) -> None:
        """Score the valid split, keep the predictions and the weights when they are the best so far."""
        logits_NC = forward(self.engine, self.valid, self.order.task, self.pad, self.worker.group)
        value = float(self.metric.value(logits_NC, self.targets_N))
        if not np.isfinite(logits_NC).all() or not math.isfinite(value):
            raise Diverged(f"validation gave {self.order.metric} = {value}: the weights are not numbers any more", done.step, done.lr)
        epoch = done.step / steps_per_epoch(len(self.rows), self.order.train.batch)
        self.curve.append({"step": done.step, "epoch": round(epoch, 6), "value": value, "loss": done.loss})
        better = self.best is None or (value > self.best["value"] if self.metric.mode == "max" else value < self.best["value"])
        if better:
            self.best = {"step": done.step, "value": value}
            if self.order.objectives:
                self.best["objectives"] = self._measured(logits_NC)
            self.best_weights = zero.whole_weights(self.engine.module, self.worker.group.rank)
            self.best_logits_NC = logits_NC
            self.best_fresh = True
        self.worker.post({"kind": "valid", "key": self.order.key, "step": done.step, "value": value, "loss": done.loss, "epoch": epoch})

    best_fresh = False

    def _measured(self, logits_NC: np.ndarray) -> dict[str, float]:
        """The objectives of the weights of now."""
        from heliostat.train.live import Live

        order, group, busy = self.order, self.worker.group, self.busy_s + time.monotonic() - self._began
        live = Live(
            self.engine.module, order.task, order.model.folder, self.valid, logits_NC, self.targets_N, self.pad, group, order.seed, busy
        )
        found = {objective.label(): float(objective.measure(live)) for objective in order.objectives}
        for name, value in found.items():
            if not math.isfinite(value):
                raise Diverged(f"the objective {name} is {value}: the weights are not numbers any more")
        return group.from_first(found)

    def _save(self, order: Train) -> None:
        """The best step, then (when the training may go on) the state of now, then what says that both are there."""
        group, folder = self.worker.group, order.folder
        state = {"curve": self.curve, "busy_s": round(self.busy_s, 3), "best": self.best}
        if self.best_fresh and self.best is not None:
            step, weights, logits_NC = self.best["step"], self.best_weights, self.best_logits_NC
            checkpoints.save(folder / "best", step, weights=weights, predictions=logits_NC, facts=state, group=group)
            self.best_fresh, self.best_weights = False, None
        if order.resumable:
            checkpoints.save(folder / "latest", self.step, states=states.collect(self.engine, group), facts=state, group=group)
        if group.rank == 0:
            settle(folder, self.step, state, resumable=order.resumable, keep_all=order.keep_all)
        group.barrier()

    def close(self) -> None:
        """Free the engine; the process group stays."""
        self.engine.destroy()
        self.engine = None


def rows_of(order: Training) -> tuple[Rows, Rows]:
    """(rows to train on, rows to validate on)."""
    train, valid = opened(order.train_rows), opened(order.valid_rows)
    if order.fold is None:
        return train, valid
    which, count, seed = order.fold
    every = train.beside(valid)
    held_N = folds(every.column("id"), every.column("labels"), count, seed) == which
    return every.only(~held_N), every.only(held_N)


def validation_interval(train: TrainConfig, rows: int) -> int:
    """Steps between validations."""
    return max(1, round(train.validate_every * steps_per_epoch(rows, train.batch)))
