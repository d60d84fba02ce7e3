"""One training in the memory of a gang: its engine, where it is, its best step, and how all that is saved."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heliostat.core.errors import Diverged, RunFailed, UserError
from heliostat.core.family import find
from heliostat.engine import checkpoints, models, states, zero
from heliostat.engine.behind import Behind, Meeting
from heliostat.engine.isolation import Way, inputs_of, way_in_rows
from heliostat.engine.orders import Stopped
from heliostat.engine.predict import batch_of, forward, on
from heliostat.engine.streams import UNITS, Micro, Rows, processor
from heliostat.train import frozen
from heliostat.train.auxiliary import targets_of
from heliostat.train.averaging import Average
from heliostat.train.batching import batches, interval
from heliostat.train.objectives.base import OF_CLASSES
from heliostat.train.overflows import Overflows
from heliostat.train.reached import newest, settle
from heliostat.train.starting import rates_of, rows_of, trainable

if TYPE_CHECKING:
    from heliostat.engine.trunk import Trunk
    from heliostat.train.heads import Heads
    from heliostat.train.loop import StepDone
    from heliostat.train.orders import Train

EVENTS_EVERY_S = 0.5
AT = "at"
"""In a batch: where its rows are among those that are trained on."""
NAMED_ROWS = 5
"""Rows of a batch that are named when it is bad."""


class Session:
    """One training in the memory of a gang: its engine, where it is, its best step."""

    def __init__(self, order: Train, worker: Any):
        self.order, self.worker = order, worker
        group = worker.group
        self.rows, self.valid = rows_of(order.train_rows, order.valid_rows, order.fold)
        self.processor = processor(order.task, order.model.folder, order.model.revision)
        self.teacher = np.load(order.teacher, mmap_mode="r") if order.teacher else None
        self.targets_N = self.valid.targets(order.task)
        self.weights_N = self.rows.column("weight")
        self.units_N = self.weights_N * self.rows.column(UNITS)
        self.metric: Any = find("metrics", order.metric)()
        losses_N = np.load(order.losses) if order.losses else None
        share = {"accumulation": order.passes(group.world), "rank": group.rank, "world": group.world}
        self.batches = batches(order.train, self.rows, order.seed, losses_N=losses_N, **share)
        self.step, self.busy_s, self._began = 0, 0.0, time.monotonic()
        self.curve: list[dict[str, Any]] = []
        self.bests: list[dict[str, Any]] = []
        """Every validated step that was the best so far."""
        self.best_weights: dict[str, Any] | None = None
        self.overflows = Overflows(order.train.precision)
        self._untold: list[tuple[int, float, float, int, int]] = []
        """(step, loss, lr, rows, skipped steps so far) of the steps that no event has told yet."""
        self.average: Average | None = None
        self.heads: Heads | None = None
        self.behind = Behind()
        self.trunk: Trunk | None = None
        self.way: Way | None = None
        self.engine = self._open()
        self.given = frozen.kept(self.trunk, order, self.rows, self.valid, worker)
        self._pass = Pass(self.engine, order.task, class_facts(self.rows, order, worker.group.device), partial(self.given, self.rows))
        told = {"kind": "began", "key": order.key, "step": self.step, "total": order.total, "curve": list(self.curve)}
        worker.post(told | {"metric": order.metric, "train": order.train.dump(), "settings": order.settings})

    def _open(self) -> Any:
        order, group = self.order, self.worker.group
        module = trainable(order, self.worker)
        train = order.train
        if train.packing:
            self.way = way_in_rows(module)
        if train.auxiliary:
            from heliostat.train import heads

            squared = order.task.answers_are == "numbers"
            options = {"learned": train.task_weights == "learned", "squared": squared, "seed": order.seed}
            self.heads = heads.put_on(module, train.auxiliary, targets_of(self.rows, train.auxiliary), **options)
        saved = self._saved()
        if saved:
            states.load_weights(module, saved)
        stage = order.stage(module, group)
        if stage < 3:  # there each worker has its part of it only
            module.to(group.device)
        rows, count = order.rows_at_once(), order.passes(group.world)
        self.trunk = frozen.trunk(order, module, stage)
        plan = zero.ZeroPlan(stage, order.offload, train.precision, train.clip, rows, count, group.world, group.device)
        optimizer = train.optimizer.build(zero.parameter_groups(module, rates_of(order, module, self.worker)), stage)
        engine = zero.start(module, optimizer, plan)
        if order.compiled and stage < 3:
            models.compile_layers(engine.module)
        if train.ema is not None:
            self.average = Average(engine.module, train.ema)
        if saved:
            states.restore(engine, saved)
            facts = checkpoints.facts(saved)
            if self.average is not None and (saved / checkpoints.WEIGHTS).exists():  # a parent's may be without: it begins here
                self.average.load(checkpoints.weights(saved), facts["step"])
            self.step, self.curve, self.busy_s = facts["step"], facts["curve"], facts["busy_s"]
            self.overflows.skipped = facts["skipped_steps"]
            self.bests = [] if order.parent else facts["bests"]  # the weights of a parent's best step are the parent's
        return engine

    @property
    def best(self) -> dict[str, Any] | None:
        """The best validated step so far."""
        return self.bests[-1] if self.bests else None

    def _saved(self) -> Path | None:
        """The checkpoint to go on from; None is the start."""
        order, group = self.order, self.worker.group
        if order.parent is not None:
            folder, step = order.parent
            saved = checkpoints.at(folder / "latest", step)
            if not group.from_first(group.rank == 0 and checkpoints.is_valid(saved)):
                raise RunFailed(f"the checkpoint '{saved}' to go on from is not there or not whole")
            return saved
        name = group.from_first(newest(order.folder, order.settings, order.until) if group.rank == 0 else None)
        return order.folder / "latest" / name if name else None

    def goes_on_with(self, order: Train, farthest: int) -> bool:
        """Whether what is in memory is where `order` begins; another gang may have brought the training to step `farthest` since."""
        mine = self.order
        same = mine.key == order.key and mine.train == order.train and mine.halved == order.halved
        return same and order.parent is None and farthest <= self.step <= order.until

    def updates(self, order: Train) -> Iterator[StepDone]:
        """Make updates up to `order.until`, yielding after each; nothing is validated or saved."""
        from heliostat.train.loop import Loop

        self.order, group = order, self.worker.group
        told: dict[str, Any] = {"leaving": lambda: group.pulse.leaving, "names": self._names}
        for done in Loop(self.engine, self._total, self._share, self._lr, group, order.seed, **told).run(self.step, order.until):
            self.step = done.step
            if self.average is not None:
                self.average.add()
            self._note(done)
            if self.worker.due(EVENTS_EVERY_S):
                self._tell()
            yield done

    def advance(self, order: Train) -> dict[str, Any]:
        """Train to `order.until`, validate where the config says and at the end, save; what is reached then."""
        self.order = order
        self._began, self._before_s = time.monotonic(), self.busy_s
        every = interval(order.train, self.batches)
        for done in () if self.is_over() else self.updates(order):
            if done.step % every == 0 or done.step == order.until or done.step == order.total:
                self._tell()
                with self.average.in_place() if self.average is not None else nullcontext():
                    self._validate(done)
                self.busy_s = self._so_far_s()
                if self.is_over():
                    break
            if done.leaving and done.step < order.until:
                self.busy_s = self._so_far_s()
                self._leave(order)
        if self.is_over() or self.step >= order.total:
            self.overflows.judge(self.step)
            if self.best is None:
                told = f"{order.metric} had no value at any of {len(self.curve)} validations: the answers to all rows may be alike"
                raise Diverged(f"{told}. Train for longer, change train.optimizer.lr, or choose another task.metric.")
        self.worker.ask_ahead()
        return self._save(order)

    def _so_far_s(self) -> float:
        """Seconds of training and validation, those of earlier orders too."""
        return self._before_s + time.monotonic() - self._began

    def _leave(self, order: Train) -> None:
        """Save in the middle of the order, which then goes on from here; one that begins at another training's state begins there again."""
        if order.parent is None:
            self._save(order, done=False)
        raise Stopped(f"stopped at step {self.step} of {order.until}, for a worker was told to leave")

    def _names(self, step: int) -> list[str]:
        """Ids of the first rows of the global batch of update `step`."""
        return self.rows.take(self.batches.whole(step)[:NAMED_ROWS])["id"]

    def _lr(self, step: int) -> float:
        """The schedule goes on with the updates that were made, as DeepSpeed's own does."""
        made, train = step - self.overflows.skipped, self.order.train
        return train.optimizer.lr * train.schedule.factor(made, self.order.total, self._merits())

    def _merits(self) -> list[float]:
        """Of the validations that the config asks for: the end of an order of a sweep is another one, and changes no training."""
        every, total = interval(self.order.train, self.batches), self.order.total
        return [self.metric.merit(point["value"]) for point in self.curve if point["step"] % every == 0 or point["step"] == total]

    def is_over(self) -> bool:
        """Whether early stopping ended the training."""
        rule = self.order.train.early_stopping
        return rule is not None and rule.is_over(self._merits())

    def _total(self, batch: dict[str, Any]) -> Any:
        self.worker.group.pulse.mark()
        train = self.order.train
        if train.regularizer is not None:
            return train.regularizer.total(train.objective, self._pass, batch)
        if self.heads is not None:
            units = self._pass(batch)
            return (self.heads.joined(train.objective.per_unit(units), batch) * units["weight"]).sum()
        return train.objective.weighted(self._pass(batch))

    def _share(self, step: int) -> tuple[list[dict[str, Any]], float, int]:
        whole, epoch = self.batches.whole(step), self.batches.epoch(step)
        return [self._batch(micro, epoch) for micro in self.batches.share(step)], float(self.units_N[whole].sum()), len(whole)

    def _batch(self, micro: Micro, epoch: int) -> dict[str, Any]:
        import torch

        batch = batch_of(self.rows, micro.rows, self.order.task, self.processor, (self.order.seed, "rows", epoch))
        batch["weight"] = torch.as_tensor(self.weights_N[micro.rows] * (0.0 if micro.filler else 1.0))
        if self.heads is not None:
            batch |= self.heads.batch(micro.rows)
        if self.teacher is not None:
            batch["teacher"] = torch.as_tensor(np.asarray(self.teacher[micro.rows]))
        batch = on(batch, self.worker.group.device)
        if self.way is not None:
            batch |= inputs_of(self.engine.module, batch["position_ids"], self.way)
        return batch | {AT: micro.rows}

    def _note(self, done: StepDone) -> None:
        self.worker.group.pulse.mark(done.step)
        self.overflows.note(done)
        self._untold.append((done.step, done.loss, done.lr, done.rows, self.overflows.skipped))

    def _tell(self) -> None:
        """All steps since the last such event, in one."""
        if not self._untold:
            return
        order, (step, loss, lr, rows, _) = self.order, self._untold[-1]
        told = {"kind": "step", "key": order.key, "step": step, "until": order.until, "total": order.total}
        self.worker.post(told | {"loss": loss, "lr": lr, "rows": rows, "steps": self._untold})
        self._untold = []

    def _validate(self, done: StepDone) -> None:
        """Score the valid split, keep the predictions and the weights when they are the best so far."""
        at_once, task = self.order.rows_scored_at_once(), self.order.task
        logits_NC = forward(self.engine, self.valid, task, self.processor, self.worker.group, at_once, self.given)
        if not np.isfinite(logits_NC).all():
            raise Diverged("validation gave answers that are not numbers: the weights are none any more", done.step, done.lr)
        value = self._value(logits_NC)
        epoch = self.batches.progress(done.step)
        better = value is not None and (self.best is None or self.metric.merit(value) > self.metric.merit(self.best["value"]))
        measured = {"objectives": self._measured(logits_NC)} if self.order.objectives and (better or self.order.keep_all) else {}
        point = {"step": done.step, "epoch": round(epoch, 6), "value": value, "loss": done.loss}
        self.curve.append(point | (measured if self.order.keep_all else {}))
        if better:
            self.bests.append({"step": done.step, "value": value, **measured})
            self.best_weights = zero.whole_weights(self.engine.module, self.worker.group.rank)
            self.best_logits_NC = logits_NC
            self.best_fresh = True
        told = {"kind": "valid", "key": self.order.key, "step": done.step, "total": self.order.total, "epoch": epoch}
        self.worker.post(told | {"value": value, "loss": done.loss, "best": self.best, "over": self.is_over()})

    best_fresh = False

    def _value(self, logits_NC: np.ndarray) -> float | None:
        """The metric of answers about the valid rows; None where it has none for these, which is worse than any."""
        value = float(self.metric.value(logits_NC, self.targets_N))
        if math.isfinite(value):
            return value
        if not self.metric.is_defined(logits_NC, self.targets_N):
            told = f"task.metric: {self.order.metric} has no value on the {len(self.targets_N)} validation rows, whatever a model answers"
            raise UserError(f"{told}: their targets are all alike, or there are none. Choose another metric, or give the split other rows.")
        return None

    def _measured(self, logits_NC: np.ndarray) -> dict[str, float]:
        """The objectives of the weights of now."""
        from heliostat.train.live import Live

        order, group, busy = self.order, self.worker.group, self._so_far_s()
        live = Live(self.engine.module, order.task, self.processor, self.valid, logits_NC, self.targets_N, group, order.seed, busy)
        found = {objective.label(): float(objective.measure(live)) for objective in order.objectives}
        for name, value in found.items():
            if not math.isfinite(value):
                raise Diverged(f"the objective {name} is {value} at step {self.step}, and nothing compares with that")
        return group.from_first(found)

    def _save(self, order: Train, *, done: bool = True) -> dict[str, Any]:
        """Best step, then (when the training may go on) the state of now, then (when the order is done) `result.json`, its proof.

        All is taken from the engine here, and written behind the next updates where the order allows it. Returns the result.
        """
        group, folder = self.worker.group, order.folder
        self.behind.wait()
        state = {"curve": list(self.curve), "busy_s": round(self.busy_s, 3), "best": self.best, "bests": list(self.bests)}
        state |= {"skipped_steps": self.overflows.skipped, **({"settings": order.settings} if order.settings else {})}
        parts = []
        if self.best_fresh and self.best is not None:
            content = checkpoints.Content(weights=self.best_weights, predictions=self.best_logits_NC)
            parts.append((folder / "best", self.best["step"], content))
            self.best_fresh, self.best_weights = False, None
        if order.resumable or not done:
            mean = self.average.state() if self.average is not None and group.rank == 0 else None
            held = states.collect(self.engine, group, copy=order.behind)
            parts.append((folder / "latest", self.step, checkpoints.Content(weights=mean, states=held)))
        checkpoints.begin([(where, step) for where, step, _ in parts], group)
        halved = {"halved": order.halved} if order.halved else {}
        result = {"step": self.step, "over": self.is_over(), **state, **halved}

        def write() -> None:
            for where, step, content in parts:
                meeting = Meeting(group, checkpoints.unfinished(where, step), self.behind)
                place = checkpoints.write(where, step, content, state, meeting)
            if group.rank == 0 and done:
                settle(folder, result)
            if group.rank == 0 and (order.resumable or not done) and not order.keep_all:
                checkpoints.keep_only(folder / "latest", {place.name})

        self.behind.submit(write)
        if not (order.behind and done) or self.is_over():  # what comes next is of another training, or reads what is written
            self.behind.wait()
        group.barrier()
        return result

    def close(self) -> None:
        """Free the engine; the process group stays. Steps of an order that failed are told before."""
        self._tell()
        self.behind.close()
        self.engine.destroy()
        self.engine = None


class Pass:
    """One pass of a batch through the model: what an objective asks for, once or several times."""

    def __init__(self, engine: Any, task: Any, facts: dict[str, Any], given: Callable[[np.ndarray], AbstractContextManager[None]]):
        self.engine, self.task, self.facts, self.given = engine, task, facts, given

    @property
    def module(self) -> Any:
        """The model itself."""
        return self.engine.module

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The units of `batch`, gradients attached."""
        return self._units(self.engine, batch)

    def inner(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The same past the engine, for what is differentiated before the update: DeepSpeed takes any gradient for that of the update."""
        return self._units(self.engine.module, batch)

    def _units(self, module: Any, batch: dict[str, Any]) -> dict[str, Any]:
        with self.given(batch[AT]):
            return {**self.facts, **self.task.units(self.task.logits(module, batch), batch)}


def class_facts(rows: Rows, order: Train, device: str) -> dict[str, Any]:
    """What objectives may know of the classes: their names, and the training targets of each."""
    import torch

    if order.task.answers_are not in OF_CLASSES:
        return {}
    counts = np.bincount(rows.classes(), minlength=len(order.labels))
    return {"names": order.labels, "class_rows": torch.as_tensor(counts, dtype=torch.float32, device=device)}
