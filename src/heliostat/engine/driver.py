"""The driver's handle on Ray: stages ask it for rows, trainings and predictions; it starts what is needed, once.

The cluster starts at the first use and the gangs stay warm between stages, so base scores, a sweep, a student and the
final scores pay for one start. Answers about models (logits, embeddings) are remembered by content in `<run>/cache`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from heliostat.artifacts import Ensemble, Model, Predictor
from heliostat.core.errors import Diverged, RunFailed, UserError
from heliostat.core.family import build
from heliostat.core.layout import Layout
from heliostat.core.manifest import fingerprint, read_json, write_json
from heliostat.core.progress import Progress
from heliostat.core.provenance import content_fingerprint
from heliostat.engine.channel import Channel
from heliostat.engine.orders import ModelSource, Order, Reply

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt", "special_tokens_map.json", "*.model")


class Engine:
    """Ray, as the stages see it. Use it as a context manager."""

    def __init__(self, layout: Layout, run_folder: Path, show: Progress | None = None, *, side_by_side: int = 1):
        self.layout, self.show, self.side_by_side = layout, show or Progress(), side_by_side
        self.logs, self.cache = run_folder / "logs", run_folder / "cache"
        self.gangs: list[Any] = []
        self.listeners: list[Callable[[dict[str, Any]], None]] = []
        self._named = 0
        self._prepared: dict[str, Path] = {}
        self._connection: Any = None
        self._channel = Channel(lambda: list(self.gangs), self.tell)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def connect(self) -> None:
        """Join or start the cluster, once. The gangs the run will want start behind what comes first."""
        if self._connection is None:
            from heliostat.engine import cluster

            self._connection = cluster.connect(self.layout)
            self.muster(min(self.side_by_side, self.widest()))

    def close(self) -> None:
        """Let the gangs go and leave the cluster; safe to call twice."""
        self._channel.close()
        gangs, self.gangs = self.gangs, []
        for gang in gangs:
            gang.dismiss()
        for gang in gangs:
            gang.close(leaving=self._channel.leave)
        if self._connection is not None:
            from heliostat.engine import cluster

            cluster.disconnect(self._connection)
            self._connection = None

    # Gangs and orders

    def widest(self) -> int:
        """Gangs that fit side by side."""
        from heliostat.engine import cluster

        self.connect()
        return cluster.widest(self.layout)

    def muster(self, count: int) -> list[Any]:
        """At least `count` gangs, starting those that are missing."""
        from heliostat.engine.gang import Gang

        self.connect()
        while len(self.gangs) < count:
            self.gangs.append(Gang(f"gang-{self._named}", self.layout, self.logs).start())
            self._named += 1
            self._channel.open()
        return self.gangs[:count]

    def room(self) -> int:
        """Gangs that fit the cluster as it is now, 0 when it has shrunk below one."""
        from heliostat.engine import cluster

        return cluster.room(self.layout)

    def stranded(self) -> list[Any]:
        """Gangs that lost a node, and that the cluster as it is now has no room to start again."""
        from heliostat.engine import cluster

        if len(self.gangs) <= self.room():
            return []
        alive = cluster.alive_nodes()
        return [gang for gang in self.gangs if not gang.nodes() <= alive]

    def release(self, gang: Any) -> None:
        """Let one gang go; whoever waits for it is told that it closed."""
        if gang in self.gangs:
            self.gangs.remove(gang)
            close = partial(gang.close, leaving=self._channel.leave)
            threading.Thread(target=close, name=f"close-{gang.name}", daemon=True).start()

    def threads(self, side_by_side: int = 1) -> int:
        """Torch threads of each worker when so many gangs work at once: on a local cluster, an even share of the cores."""
        local = self._connection is not None and self._connection.local
        if local and not self.layout.gpus_per_worker:
            return max(1, self.layout.training_cpus() // (self.layout.workers * side_by_side))
        return max(1, int(self.layout.cpus_per_worker))

    def perform(self, order: Order) -> Reply:
        """One order on the first gang, with every core it may use; raises what went wrong."""
        gang = self.muster(1)[0]
        return checked(gang.perform(order.model_copy(update={"threads": self.threads()})))

    def perform_all(self, orders: Sequence[Order]) -> list[Reply]:
        """Independent orders, spread over the gangs; replies in the order given."""
        from heliostat.engine import trials

        if len(orders) < 2:
            return [self.perform(order) for order in orders]
        most = min(len(orders), self.widest())
        threads = self.threads(most)
        replies = trials.perform([order.model_copy(update={"threads": threads}) for order in orders], self, most=most)
        return [checked(reply) for reply in replies]

    def tell(self, event: dict[str, Any]) -> None:
        """Hand an event to the listeners. Events of gangs come from a thread of their own."""
        for listener in list(self.listeners):
            listener(event)

    # Rows

    def map_pieces(self, pieces: list[dict[str, Any]], function: Callable[[dict[str, Any]], Any]) -> Iterator[Any]:
        """`function(piece)` gives a pyarrow table; the tables, in piece order, made by Ray Data."""
        from heliostat.engine import rows

        self.connect()
        return rows.read(pieces, function)

    def prepare(self, files: list[Path], *, task: Any, labels: Sequence[str], model: ModelSource) -> Path:
        """Parquet files as model inputs, made once per content; a folder for `streams.Prepared`."""
        from heliostat.engine import streams

        asked = fingerprint([[str(f) for f in files], task.identity(), list(labels), model.folder, model.revision])
        if asked in self._prepared:
            return self._prepared[asked]
        folder = Path(model.folder)
        tokenizer = sorted({p for pattern in TOKENIZER_FILES for p in folder.glob(pattern)}) if folder.is_dir() else []
        identity = [content_fingerprint(files), content_fingerprint(tokenizer) if tokenizer else f"{model.folder}@{model.revision}"]
        function = streams.Tokenise(model.folder, task, tuple(labels))
        made = streams.prepare(self.cache / "rows", files, function, identity=identity, map_pieces=self.map_pieces)
        self._prepared[asked] = made
        return made

    # Answers about models

    def predict(self, predictor: Predictor, files: list[Path], *, task: Any, show: str = "") -> np.ndarray:
        """Logits float32 [rows, labels] in corpus order; for an ensemble log-probabilities of its weighted mean."""
        return combined(predictor, self.predict_each(members(predictor), files, task=task))

    def predict_each(self, models: Sequence[Model], files: list[Path], *, task: Any) -> list[np.ndarray]:
        """Logits of several models on the same rows, computed side by side."""
        from heliostat.engine.predict import Predict

        orders: list[tuple[Path, Order]] = []
        for model in models:
            source = ModelSource(folder=str(model.path))
            own = own_task(model, task)
            rows = self.prepare(files, task=own, labels=model.labels, model=source)
            out = self.cache / "logits" / f"{fingerprint([content_of(model), rows.name])}.npy"
            orders.append((out, Predict(task=own, model=source, labels=model.labels, rows=rows, out=out)))
        return self._answers(orders)

    def embed(self, predictor: Any, texts: Sequence[str], *, task: Any) -> np.ndarray:
        """Unit vectors float32 [texts, width]; of an ensemble such that a cosine is the weighted mean of its members'."""
        from heliostat.engine.predict import Embed

        orders: list[tuple[Path, Order]] = []
        for part in members(predictor):
            source, labels = self._source(part)
            own = own_task(part, task)
            out = self.cache / "vectors" / f"{fingerprint([content_of(part), own.identity(), list(texts)])}.npy"
            orders.append((out, Embed(task=own, model=source, labels=labels, texts=tuple(texts), out=out)))
        vectors = self._answers(orders)
        weights = predictor.weights if isinstance(predictor, Ensemble) else (1.0,)
        return np.concatenate([v * np.sqrt(w) for v, w in zip(vectors, weights, strict=True)], axis=1).astype(np.float32)

    def _answers(self, orders: list[tuple[Path, Order]]) -> list[np.ndarray]:
        self.perform_all([order for out, order in orders if not out.exists()])
        return [np.load(out) for out, _ in orders]

    def latency(self, predictor: Any, texts: Sequence[str], *, task: Any) -> dict[str, float]:
        """{"p50", "p99"}: milliseconds of one text at a time; the members of an ensemble answer one after another."""
        took = sum(np.asarray(self._time(part, texts, task)["ms"]) for part in members(predictor))
        return {"p50": round(float(np.percentile(took, 50)), 3), "p99": round(float(np.percentile(took, 99)), 3)}

    def _time(self, part: Any, texts: Sequence[str], task: Any) -> dict[str, Any]:
        from heliostat.engine.predict import Time

        source, labels = self._source(part)
        task = own_task(part, task)
        mark = fingerprint([content_of(part), task.identity(), list(texts), self.layout.dump()])
        path = self.cache / "latency" / f"{mark}.json"
        known = read_json(path)
        if known is None:
            known = self.perform(Time(task=task, model=source, labels=labels, texts=tuple(texts))).value
            write_json(path, known)
        return known

    def size(self, model: Any) -> tuple[int, int]:
        """(parameters, bytes of weights) of a pretrained model."""
        from heliostat.engine.models import folder_bytes

        folder = model.folder()
        return int(self._time(model, ("size",), _task())["params"]), folder_bytes(folder) if folder else 0

    @staticmethod
    def _source(part: Any) -> tuple[ModelSource, tuple[str, ...] | None]:
        if isinstance(part, Model):
            return ModelSource(folder=str(part.path)), part.labels
        return source_of(part), None


def _task() -> Any:
    return build("tasks", "text_classification")


def own_task(model: Any, task: Any) -> Any:
    """The task a model was trained for, when its export says so: a sweep may have searched its settings."""
    told = read_json(Path(model.path) / "heliostat.json") if isinstance(model, Model) else None
    return build("tasks", told["task"]) if told else task


def source_of(model: Any) -> ModelSource:
    """Where the weights of a `ModelConfig` are; a hub id stays one."""
    folder = model.folder()
    return ModelSource(folder=str(folder.resolve()) if folder else model.path, revision=model.revision, layers=model.layers)


def content_of(model: Any) -> list[Any]:
    """What stands for a model in the cache: its fingerprint, and when its folder was written."""
    written = Path(model.path) / "config.json" if isinstance(model, Model) else None
    return [model.fingerprint, written.stat().st_mtime_ns if written else None]


def members(predictor: Any) -> tuple[Any, ...]:
    """The single models a predictor is made of."""
    return predictor.members if isinstance(predictor, Ensemble) else (predictor,)


def combined(predictor: Any, logits: list[np.ndarray]) -> np.ndarray:
    """One answer [rows, labels] from the members' logits: log of the weighted mean probability for an ensemble."""
    if not isinstance(predictor, Ensemble):
        return logits[0]
    probs = sum(w * softmax(z) for w, z in zip(predictor.weights, logits, strict=True))
    return np.log(np.maximum(probs, 1e-12)).astype(np.float32)


def softmax(logits_NC: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    shifted = np.exp(logits_NC.astype(np.float64) - logits_NC.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def checked(reply: Reply) -> Reply:
    """The reply, or the error it carries as the exception it stands for."""
    if reply.error is None:
        return reply
    raise {"request": UserError, "diverged": Diverged}.get(reply.reason, RunFailed)(reply.error)
