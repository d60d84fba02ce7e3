"""The driver's handle on Ray: stages ask it for rows, trainings and predictions; it starts what is needed, once.

The cluster starts at the first use and the gangs stay warm between stages, so base scores, a sweep, a student and the
final scores pay for one start. Answers about models (logits, embeddings) are remembered by content in `<run>/cache`.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from heliostat.artifacts import Ensemble, Model
from heliostat.core.errors import Diverged, RunFailed, UserError
from heliostat.core.family import build
from heliostat.core.layout import Layout
from heliostat.core.manifest import fingerprint, read_json, write_json
from heliostat.core.progress import Progress
from heliostat.engine.channel import Channel
from heliostat.engine.orders import ModelSource, Order, Reply

MAX_LOSSES = 3
"""Gangs an order may lose before it counts as failed."""


class Engine:
    """Ray, as the stages see it. Use it as a context manager."""

    def __init__(self, layout: Layout, run_folder: Path, show: Progress | None = None, *, side_by_side: int = 1):
        self.layout, self.show, self.side_by_side = layout, show or Progress(), side_by_side
        self.logs, self.cache = run_folder / "logs", run_folder / "cache"
        self.gangs: list[Any] = []
        self.listeners: list[Callable[[dict[str, Any]], None]] = []
        self._said: set[str] = set()
        """What was said about listeners that fail."""
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
        until = time.monotonic() + self.layout.grace_s  # trainings that are interrupted save, all of them at once
        for gang in gangs:
            gang.close(max(0.0, until - time.monotonic()), leaving=self._channel.leave)
        from heliostat.engine.streams import FROZEN

        for kept in (self.cache / "rows").glob(f"*/{FROZEN}*"):  # as large as the corpus many times over, and soon computed again
            shutil.rmtree(kept, ignore_errors=True)
        if self._connection is not None:
            from heliostat.engine import cluster

            cluster.disconnect(self._connection)
            self._connection = None

    # Gangs and orders

    def widest(self) -> int:
        """Gangs that fit side by side; of gangs that may be wider or narrower, no more than the run wants."""
        from heliostat.engine import cluster

        self.connect()
        fits = cluster.widest(self.layout)
        return min(fits, self.side_by_side) if self.layout.is_elastic() else fits

    def muster(self, count: int) -> list[Any]:
        """At least `count` gangs, starting those that are missing."""
        from heliostat.engine.gang import Gang

        self.connect()
        while len(self.gangs) < count:
            self.gangs.append(Gang(f"gang-{self._named}", self.layout, self.logs, self._width()).start())
            self._named += 1
            self._channel.open()
        return self.gangs[:count]

    def _width(self) -> int:
        """Workers of the next gang, at most."""
        from heliostat.engine import cluster

        if not self.layout.is_elastic():
            return self.layout.workers
        return cluster.workers_of_each(self.layout, min(self.side_by_side, self.room()))

    def _outgrow(self) -> None:
        """Let a gang go that was started when the cluster held less than the only training may have."""
        if self.side_by_side > 1 or not self.layout.is_elastic() or not self.gangs:
            return
        width = self._width()
        for gang in [each for each in self.gangs if each.most < width]:
            self.show.message(f"{gang.name}: nodes have come: another gang of up to {width} workers takes its place")
            self.release(gang)

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
            workers = self.layout.workers_of_each(int(self.layout.training_cpus() // self.layout.cpus_per_worker), side_by_side)
            return max(1, self.layout.training_cpus() // (workers * side_by_side))
        return max(1, int(self.layout.cpus_per_worker))

    def perform(self, order: Order) -> Reply:
        """One order on the first gang, with every core it may use; raises what went wrong."""
        for _ in range(MAX_LOSSES):
            self._outgrow()
            gang = self.muster(1)[0]
            reply = gang.perform(order.model_copy(update={"threads": self.threads()}))
            if reply.reason != "closed":
                break
            self.release(gang)
        return checked(reply)

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
        if event["kind"] == "told":
            self.show.message(event["text"])
        for listener in list(self.listeners):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001  whatever it is, the others hear on and nothing else is lost
                said = f"{getattr(listener, '__qualname__', listener)} fails at {event['kind']} events: {type(error).__name__}: {error}"
                if said not in self._said:
                    self._said.add(said)
                    self.show.message(said)

    # Rows

    def map_pieces(self, pieces: list[dict[str, Any]], function: Callable[[dict[str, Any]], Any]) -> Iterator[Any]:
        """`function(piece)` gives a pyarrow table; the tables, in piece order, made by Ray Data."""
        from heliostat.engine import cluster, rows

        self.connect()
        for gang in self.gangs[cluster.beside_data(self.layout, len(self.gangs)) :]:  # nodes may have gone
            self.release(gang)
        return rows.read(pieces, function)

    def prepare(self, files: list[Path], *, task: Any, labels: Sequence[str], model: ModelSource, keep: Sequence[str] = ()) -> Path:
        """Parquet files as model inputs, made once per content; a folder for `streams.Prepared`. `keep` are slices to keep."""
        from heliostat.engine import streams

        asked = fingerprint([[str(f) for f in files], task.identity(), list(labels), model.folder, model.revision, list(keep)])
        if asked in self._prepared:
            return self._prepared[asked]
        identity = streams.content_of(files, model)
        function = streams.Tokenise(model.folder, task, tuple(labels), tuple(keep), model.revision)
        made = streams.prepare(self.cache / "rows", files, function, identity=identity, map_pieces=self.map_pieces)
        self._prepared[asked] = made
        return made

    # Answers about models

    def predict(self, predictor: Any, files: list[Path], *, task: Any, show: str = "") -> np.ndarray:
        """Answers float32 [rows, ...] in corpus order; for an ensemble log-probabilities of its weighted mean."""
        return combined(predictor, self.predict_each(members(predictor), files, task=task))

    def predict_each(self, models: Sequence[Any], files: list[Path], *, task: Any) -> list[np.ndarray]:
        """Answers of several models about the same rows, computed side by side; a base model answers with the head it has."""
        from heliostat.engine.predict import Predict

        orders: list[tuple[Path, Order]] = []
        for model in models:
            source, labels = self._source(model, task)
            own = own_task(model, task)
            rows = self.prepare(files, task=own, labels=labels or (), model=source)
            out = self.cache / "logits" / f"{fingerprint([content_of(model), rows.name])}.npy"
            orders.append((out, Predict(task=own, model=source, labels=labels or (), rows=rows, out=out)))
        return self._answers(orders)

    def embed(self, predictor: Any, inputs: Sequence[Any], *, task: Any) -> np.ndarray:
        """Unit vectors float32 [inputs, width] of texts, or of the bytes of what else the task reads; of an ensemble such that a cosine
        is the weighted mean of its members'."""
        return self.embed_rows(predictor, {task.reads: list(inputs)}, task=task)

    def embed_rows(self, predictor: Any, inputs: dict[str, list[Any]], *, task: Any) -> np.ndarray:
        """Unit vectors float32 [rows, width] of raw rows, given by their columns."""
        from heliostat.engine.predict import Embed

        told = _told(inputs)
        orders: list[tuple[Path, Order]] = []
        for part in members(predictor):
            source, labels = self._source(part, task)
            own = own_task(part, task)
            out = self.cache / "vectors" / f"{fingerprint([content_of(part), own.identity(), told])}.npy"
            orders.append((out, Embed(task=own, model=source, labels=labels, inputs=inputs, out=out)))
        return self._side_by_side(predictor, orders)

    def embed_files(self, predictor: Any, files: list[Path], index_N: np.ndarray, *, task: Any, labels: Sequence[str]) -> np.ndarray:
        """Unit vectors float32 [rows, width] of the rows at `index_N` of a corpus' files: prepared as for training, never in the driver."""
        from heliostat.engine.predict import EmbedRows

        asked = hashlib.sha256(np.ascontiguousarray(index_N, dtype=np.int64).tobytes()).hexdigest()
        orders: list[tuple[Path, Order]] = []
        for part in members(predictor):
            source, own_labels = self._source(part, task)
            own = own_task(part, task)
            rows = self.prepare(files, task=own, labels=labels, model=source)
            out = self.cache / "vectors" / f"{fingerprint([content_of(part), rows.name, asked])}.npy"
            orders.append((out, EmbedRows(task=own, model=source, labels=own_labels, rows=rows, index=index_N, out=out)))
        return self._side_by_side(predictor, orders)

    def _side_by_side(self, predictor: Any, orders: list[tuple[Path, Order]]) -> np.ndarray:
        """The vectors of a predictor's members as one."""
        vectors = self._answers(orders)
        weights = predictor.weights if isinstance(predictor, Ensemble) else (1.0,)
        return np.concatenate([v * np.sqrt(w) for v, w in zip(vectors, weights, strict=True)], axis=1).astype(np.float32)

    def _answers(self, orders: list[tuple[Path, Order]]) -> list[np.ndarray]:
        self.perform_all([order for out, order in orders if not out.exists()])
        return [np.load(out) for out, _ in orders]

    def latency(self, predictor: Any, inputs: dict[str, list[Any]], *, task: Any) -> dict[str, float]:
        """{"p50", "p99"}: milliseconds of one row at a time; the members of an ensemble answer one after another."""
        took = sum(np.asarray(self._time(part, inputs, task)["ms"]) for part in members(predictor))
        return {"p50": round(float(np.percentile(took, 50)), 3), "p99": round(float(np.percentile(took, 99)), 3)}

    def _time(self, part: Any, inputs: dict[str, list[Any]], task: Any) -> dict[str, Any]:
        from heliostat.engine.predict import Time

        source, labels = self._source(part, task)
        task = own_task(part, task)
        mark = fingerprint([content_of(part), task.identity(), _told(inputs), self.layout.dump()])
        path = self.cache / "latency" / f"{mark}.json"
        known = read_json(path)
        if known is None:
            known = self.perform(Time(task=task, model=source, labels=labels, inputs=inputs)).value
            write_json(path, known)
        return known

    def weights_bytes(self, model: Any) -> int:
        """Bytes of the weights of a pretrained model; 0 for a hub id."""
        from heliostat.engine.models import folder_bytes

        folder = model.folder()
        return folder_bytes(folder) if folder else 0

    def params(self, part: Any, inputs: dict[str, list[Any]], *, task: Any) -> int:
        """Parameters of a pretrained model."""
        return int(self._time(part, inputs, task)["params"])

    @staticmethod
    def _source(part: Any, task: Any) -> tuple[ModelSource, tuple[str, ...] | None]:
        if isinstance(part, Model):
            return ModelSource(folder=str(part.path)), part.labels
        return source_of(part), () if task.base == "itself" else None


def _told(inputs: dict[str, list[Any]]) -> Any:
    """Raw rows as what stands for them in a fingerprint."""
    return {name: [hashlib.sha256(v).hexdigest() if isinstance(v, bytes) else v for v in values] for name, values in inputs.items()}


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
