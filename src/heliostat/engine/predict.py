"""Orders about models in use: answers, embeddings, latency. Each worker does its share of the batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np

from heliostat.core import seeds
from heliostat.engine.group import Group
from heliostat.engine.orders import ModelSource, Order
from heliostat.engine.streams import PIECE, UNITS, Rows, opened, processor

ROWS = 32
"""Rows of one forward pass."""


Batch = Callable[[np.ndarray], dict[str, Any]]
"""Gives the tensors of the rows at some places."""
Given = Callable[[Rows, np.ndarray], AbstractContextManager[None]]
"""Told of the rows and the places in them that the next pass is about."""


def nothing_given(rows: Rows, places: np.ndarray) -> AbstractContextManager[None]:
    """Every layer of the model is asked."""
    return nullcontext()


class InUse(Order):
    """Base of orders about rows that a model answers, some rows at once."""

    at_once: int = ROWS
    """Rows of one forward pass."""

    def smaller(self) -> Self | None:
        now = min(self.at_once, self.task.together)
        return self.model_copy(update={"at_once": -(-now // 2)}) if now > 1 else None


class Predict(InUse):
    """Answers about prepared rows, written to `out` as float32 .npy [rows, ...] in row order."""

    model: ModelSource
    labels: tuple[str, ...]
    rows: Path
    out: Path

    def perform(self, worker: Any) -> dict[str, Any]:
        module = worker.models.opened(self.model, self.labels, self.task)
        rows = opened(self.rows)
        answers = forward(module, rows, self.task, processor(self.task, self.model.folder, self.model.revision), worker.group, self.at_once)
        if worker.group.rank == 0:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            np.save(self.out, answers)
        return {"rows": len(answers)}


class Embed(InUse):
    """Unit vectors of raw inputs, written to `out` as float32 .npy [rows, width]."""

    model: ModelSource
    labels: tuple[str, ...] | None = None
    inputs: dict[str, list[Any]]
    """Columns of the rows."""
    out: Path

    def perform(self, worker: Any) -> dict[str, Any]:
        module = worker.models.opened(self.model, self.labels, self.task).to(worker.group.device)
        vectors_ND = embedded(
            module, self.inputs, self.task, processor(self.task, self.model.folder, self.model.revision), worker.group, self.at_once
        )
        if worker.group.rank == 0:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            np.save(self.out, vectors_ND)
        return {"rows": len(vectors_ND)}


class EmbedRows(InUse):
    """Unit vectors of prepared rows, of a split one of its first piece, written to `out` as float32 .npy [rows, width]."""

    model: ModelSource
    labels: tuple[str, ...] | None = None
    rows: Path
    index: np.ndarray
    """Which of them, in which order."""
    out: Path

    def perform(self, worker: Any) -> dict[str, Any]:
        module = worker.models.opened(self.model, self.labels, self.task).to(worker.group.device)
        prepared, rows = processor(self.task, self.model.folder, self.model.revision), opened(self.rows)
        begins = rows.first_N[self.index]

        def batch(places: np.ndarray) -> dict[str, Any]:
            return batch_of(rows, begins[places], self.task, prepared, (0, "predict"))

        vectors_ND = vectors(module, batch, rows.lengths_N[begins], self.task, worker.group, self.at_once)
        if worker.group.rank == 0:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            np.save(self.out, vectors_ND)
        return {"rows": len(vectors_ND)}


class Time(Order):
    """Milliseconds per row, one row at a time, from its raw input."""

    model: ModelSource
    labels: tuple[str, ...] | None = None
    inputs: dict[str, list[Any]]
    """Columns of the rows."""

    def perform(self, worker: Any) -> dict[str, Any]:
        import torch

        module = worker.models.opened(self.model, self.labels, self.task).to(worker.group.device)
        prepared = processor(self.task, self.model.folder, self.model.revision)
        call = self.task.embed if self.labels is None else self.task.logits
        rows = range(len(next(iter(self.inputs.values()))))
        took = []
        with torch.no_grad():
            for i in (*rows[:3], *rows):  # the first three warm up and are not counted
                began = time.perf_counter()
                encoded = encode({name: [values[i]] for name, values in self.inputs.items()}, self.task, prepared, [0])
                call(module, on(self.task.collate(encoded, prepared), worker.group.device)).cpu()
                took.append(1e3 * (time.perf_counter() - began))
        from heliostat.engine.models import count

        return {"ms": took[min(3, len(rows)) :], "params": count(module)}


def encode(inputs: dict[str, list[Any]], task: Any, prepared: Any, index: Sequence[int]) -> dict[str, list[Any]]:
    """Model inputs of raw rows that have no target, of a split one its first piece; their randomness is drawn from their place `index`."""
    encoded = task.tokenise(inputs, prepared, [])
    encoded.pop(UNITS, None)
    if PIECE in encoded:
        first = np.flatnonzero(np.asarray(encoded.pop(PIECE)) == 0)
        encoded = {name: [values[i] for i in first] for name, values in encoded.items()}
    return task.drawn(encoded, [seeds.rng(0, "predict", i) for i in index], prepared) if task.is_drawn else encoded


def on(batch: dict[str, Any], device: str) -> dict[str, Any]:
    """The batch's tensors on `device`."""
    return batch if device == "cpu" else {k: v.to(device, non_blocking=True) for k, v in batch.items()}


def forward(
    module: Any, rows: Rows, task: Any, prepared: Any, group: Group, at_once: int = ROWS, given: Given = nothing_given
) -> np.ndarray:
    """Answers [rows, ...] about every row of the corpus, in its order, on every worker; `module` may be a DeepSpeed engine.

    Every worker makes the same number of forward passes, as ZeRO 3 needs. What is random about a row is the same every time.
    `given` is entered around the pass of some rows (engine/trunk).
    """
    import torch

    batches = list(rows.by_length(min(at_once, task.together)))
    mine = list(_dealt(batches, group))
    was_training = module.training
    module.eval()
    parts = []
    if hasattr(module, "to") and not hasattr(module, "backward"):
        module.to(group.device)
    with torch.no_grad():
        for index, counts in mine:
            batch = on(batch_of(rows, index, task, prepared, (0, "valid")), group.device)
            with given(rows, index):
                answers = task.answers(task.logits(module, batch), batch).cpu().numpy()
            if counts:
                parts.append((index, answers))
    module.train(was_training)
    return rows.added(group.assemble(parts, len(rows)))


def batch_of(rows: Rows, index: np.ndarray, task: Any, prepared: Any, names: tuple[Any, ...]) -> dict[str, Any]:
    """The tensors of the rows at `index`; what is random about a row comes from `names` (a seed first), its id and its piece alone."""
    taken = rows.take(index)
    chosen = {name: taken[name] for name in rows.columns}
    if task.is_drawn:
        chosen = task.drawn(chosen, [seeds.rng(*names, *own) for own in _names(taken)], prepared)
    return task.collate(chosen, prepared)


def _names(taken: dict[str, list[Any]]) -> Iterator[tuple[Any, ...]]:
    """What tells apart each row, each piece of one, and each document of a packed one: the same whether it is packed or not."""
    rows, pieces = taken["id"], taken.get(PIECE) or [0] * len(taken["id"])
    if "documents" in taken:
        rows, pieces = (list(chain(*taken[name])) for name in ("ids", "pieces"))
    for row, piece in zip(rows, pieces, strict=True):
        yield (row, piece) if piece else (row,)


def embedded(module: Any, inputs: dict[str, list[Any]], task: Any, prepared: Any, group: Group, at_once: int = ROWS) -> np.ndarray:
    """Unit vectors float32 [rows, width] of raw rows on every worker."""
    count = len(next(iter(inputs.values())))
    encoded = encode(inputs, task, prepared, range(count))
    lengths = [len(ids) for ids in encoded["input_ids"]] if "input_ids" in encoded else [1] * count

    def batch(places: np.ndarray) -> dict[str, Any]:
        return task.collate({name: [values[i] for i in places] for name, values in encoded.items()}, prepared)

    return vectors(module, batch, np.asarray(lengths), task, group, at_once)


def vectors(module: Any, batch: Batch, lengths_N: np.ndarray, task: Any, group: Group, at_once: int) -> np.ndarray:
    """Unit vectors float32 [rows, width] on every worker, each of which makes the same number of forward passes."""
    import torch

    order_N, at_once = np.argsort(-lengths_N, kind="stable"), min(at_once, task.together)
    parts = []
    with torch.no_grad():
        for places, counts in _dealt([order_N[i : i + at_once] for i in range(0, len(order_N), at_once)], group):
            found = task.embed(module, on(batch(places), group.device)).float().cpu().numpy()
            if counts:
                parts.append((places, found))
    return group.assemble(parts, len(lengths_N))


def _dealt(batches: list[np.ndarray], group: Group) -> Iterator[tuple[np.ndarray, bool]]:
    """This worker's batches; a worker that is one short repeats the first one, uncounted."""
    for start in range(0, len(batches), group.world):
        group.pulse.mark()
        at = start + group.rank
        yield (batches[at], True) if at < len(batches) else (batches[0], False)
