"""Orders about models in use: logits, embeddings, latency. Each worker does its share of the batches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from heliostat.engine.group import Group
from heliostat.engine.orders import ModelSource, Order
from heliostat.engine.streams import Rows, open_tokenizer, opened

ROWS = 32
"""Rows of one forward pass."""


class InUse(Order):
    """Base of orders about rows that a model answers, some rows at once."""

    at_once: int = ROWS
    """Rows of one forward pass."""

    def smaller(self) -> Self | None:
        return self.model_copy(update={"at_once": -(-self.at_once // 2)}) if self.at_once > 1 else None


class Predict(InUse):
    """Logits of prepared rows, written to `out` as float32 .npy [rows, labels] in row order."""

    model: ModelSource
    labels: tuple[str, ...]
    rows: Path
    out: Path

    def perform(self, worker: Any) -> dict[str, Any]:
        module = worker.models.opened(self.model, self.labels, self.task)
        rows = opened(self.rows)
        pad = pad_id(self.model.folder)
        logits_NC = forward(module, rows, self.task, pad, worker.group, self.at_once)
        if worker.group.rank == 0:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            np.save(self.out, logits_NC)
        return {"rows": len(rows)}


class Embed(InUse):
    """Unit vectors of texts, written to `out` as float32 .npy [texts, width]."""

    model: ModelSource
    labels: tuple[str, ...] | None = None
    texts: tuple[str, ...]
    out: Path

    def perform(self, worker: Any) -> dict[str, Any]:
        module = worker.models.opened(self.model, self.labels, self.task).to(worker.group.device)
        vectors_ND = embedded(module, self.texts, self.task, open_tokenizer(self.model.folder), worker.group, self.at_once)
        if worker.group.rank == 0:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            np.save(self.out, vectors_ND)
        return {"rows": len(self.texts)}


class Time(Order):
    """Milliseconds per text, one text at a time, tokenising included."""

    model: ModelSource
    labels: tuple[str, ...] | None = None
    texts: tuple[str, ...]

    def perform(self, worker: Any) -> dict[str, Any]:
        import torch

        module = worker.models.opened(self.model, self.labels, self.task).to(worker.group.device)
        tokenizer = open_tokenizer(self.model.folder)
        call = self.task.embed if self.labels is None else self.task.logits
        took = []
        with torch.no_grad():
            for text in (*self.texts[:3], *self.texts):  # the first three warm up and are not counted
                began = time.perf_counter()
                encoded = self.task.tokenise({"text": [text]}, tokenizer, [])
                call(module, on(self.task.collate(encoded, tokenizer.pad_token_id or 0), worker.group.device)).cpu()
                took.append(1e3 * (time.perf_counter() - began))
        from heliostat.engine.models import count

        return {"ms": took[3:], "params": count(module)}


def pad_id(folder: str) -> int:
    """The padding token of a model's tokenizer."""
    return open_tokenizer(folder).pad_token_id or 0


def on(batch: dict[str, Any], device: str) -> dict[str, Any]:
    """The batch's tensors on `device`."""
    return batch if device == "cpu" else {k: v.to(device, non_blocking=True) for k, v in batch.items()}


def forward(module: Any, rows: Rows, task: Any, pad: int, group: Group, at_once: int = ROWS) -> np.ndarray:
    """Logits [rows, labels] of every row in corpus order, on every worker; `module` may be a DeepSpeed engine, `at_once` rows make a pass.

    Every worker makes the same number of forward passes, as ZeRO 3 needs.
    """
    import torch

    batches = list(rows.by_length(at_once))
    mine = list(_dealt(batches, group))
    was_training = module.training
    module.eval()
    parts = []
    if hasattr(module, "to") and not hasattr(module, "backward"):
        module.to(group.device)
    with torch.no_grad():
        for index, counts in mine:
            batch = on(task.collate(columns(rows, index), pad), group.device)
            logits = task.logits(module, batch).float().cpu().numpy()
            if counts:
                parts.append((index, logits))
    module.train(was_training)
    return group.assemble(parts, len(rows))


def embedded(module: Any, texts: Sequence[str], task: Any, tokenizer: Any, group: Group, at_once: int = ROWS) -> np.ndarray:
    """Unit vectors float32 [texts, width] on every worker, each of which makes the same number of forward passes."""
    import torch

    encoded = task.tokenise({"text": list(texts)}, tokenizer, [])
    order_N = np.argsort([-len(ids) for ids in encoded["input_ids"]], kind="stable")
    parts = []
    with torch.no_grad():
        for index, counts in _dealt([order_N[i : i + at_once] for i in range(0, len(order_N), at_once)], group):
            rows = {name: [values[i] for i in index] for name, values in encoded.items()}
            batch = on(task.collate(rows, tokenizer.pad_token_id or 0), group.device)
            vectors = task.embed(module, batch).float().cpu().numpy()
            if counts:
                parts.append((index, vectors))
    return group.assemble(parts, len(texts))


def columns(rows: Rows, index: np.ndarray) -> dict[str, list[Any]]:
    """Model inputs of the rows at `index`."""
    taken = rows.take(index)
    return {name: taken[name] for name in rows.columns}


def _dealt(batches: list[np.ndarray], group: Group) -> Iterator[tuple[np.ndarray, bool]]:
    """This worker's batches; a worker that is one short repeats the first one, uncounted."""
    for start in range(0, len(batches), group.world):
        group.pulse.mark()
        at = start + group.rank
        yield (batches[at], True) if at < len(batches) else (batches[0], False)
