"""An engine without Ray and torch: it performs every order at once, with numbers made from names, and can be killed."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heliostat.core.manifest import read_json, write_json
from heliostat.engine.driver import Engine
from heliostat.engine.orders import Order, Reply
from heliostat.engine.streams import Prepared


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def numbers(*names: Any) -> np.random.Generator:
    """A generator named by anything."""
    return np.random.default_rng(int(hashlib.sha256(repr(names).encode()).hexdigest()[:12], 16))


class FakeEngine(Engine):
    """Every order at once. `kill_at` raises `Killed` before the order of that number; `performed` counts by kind of order."""

    kill_at: int | None = None
    performed: list[str]

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.performed = []
        self.begun: set[str] = set()

    def connect(self) -> None:
        """There is nothing to join."""

    def widest(self) -> int:
        return 2

    def muster(self, count: int) -> list[Any]:
        return [object()] * count

    def map_pieces(self, pieces: list[dict[str, Any]], function: Any) -> Iterator[Any]:
        yield from map(function, pieces)

    def perform(self, order: Order) -> Reply:
        if self.kill_at is not None and len(self.performed) >= self.kill_at:
            raise Killed
        self.performed.append(type(order).__name__)
        return Reply(value=getattr(self, f"do_{type(order).__name__.lower()}")(order), seconds=1.0)

    def perform_all(self, orders: Any) -> list[Reply]:
        return [self.perform(order) for order in orders]

    def do_predict(self, order: Any) -> dict[str, Any]:
        _save(order.out, _answers(Path(order.model.folder).name, Prepared(order.rows), order))
        return {}

    def do_embed(self, order: Any) -> dict[str, Any]:
        rows = np.stack([numbers(order.model.folder.rsplit("/", 1)[-1], text).normal(size=8) for text in order.inputs["text"]])
        _save(order.out, (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
        return {}

    def do_embedrows(self, order: Any) -> dict[str, Any]:
        ids = Prepared(order.rows).take(order.index)["id"]
        rows = np.stack([numbers(order.model.folder.rsplit("/", 1)[-1], row).normal(size=8) for row in ids])
        _save(order.out, (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
        return {}

    def do_time(self, order: Any) -> dict[str, Any]:
        return {"ms": [1.0 + 0.01 * i for i in range(len(order.inputs["text"]))], "params": 1000}

    def do_train(self, order: Any) -> dict[str, Any]:
        value = round(0.5 + 0.4 * float(numbers(order.train.dump()).random()) * order.until / order.total, 6)
        point = {"step": order.until, "epoch": order.until / order.total, "value": value, "loss": 1 - value}
        order.folder.mkdir(parents=True, exist_ok=True)
        self._post(order, point)
        _save(order.folder / "valid.npy", _answers(order.key, Prepared(order.valid_rows), order))
        result = {"step": order.until, "over": False, "curve": [point], "busy_s": 1.0, "best": {"step": order.until, "value": value}}
        write_json(order.folder / "result.json", result)
        return result

    def _post(self, order: Any, point: dict[str, Any]) -> None:
        """What a gang posts on the way: it goes on from where the training is."""
        before = read_json(order.folder / "result.json") or {"step": 0, "curve": []}
        told = {"key": order.key, "time": 1.0, "total": order.total}
        if order.key not in self.begun or before["step"] == 0:
            self.begun.add(order.key)
            facts = {"metric": order.metric, "train": order.train.dump(), "settings": order.settings}
            self.tell({"kind": "began", **told, "step": before["step"], "curve": before["curve"], **facts})
        steps = [(n, 1 / n, 0.5, order.train.batch, 0) for n in range(before["step"] + 1, order.until + 1)]
        if steps:
            self.tell({"kind": "step", **told, "step": order.until, "until": order.until, "loss": steps[-1][1], "lr": 0.5, "steps": steps})
            self.tell({"kind": "valid", **told, **point, "best": {"step": point["step"], "value": point["value"]}, "over": False})

    def do_export(self, order: Any) -> dict[str, Any]:
        order.out.mkdir(parents=True, exist_ok=True)
        for file in Path(order.model.folder).glob("tokenizer*.json"):
            shutil.copy(file, order.out)
        (order.out / "config.json").write_text(json.dumps({"model_type": "bert"}))
        (order.out / "model.safetensors").write_bytes(b"weights of " + order.key.rsplit("/", 1)[-1].encode())
        return {"params": 900, "bytes": 3600}


def _answers(name: str, rows: Prepared, order: Any) -> np.ndarray:
    """Mostly right answers, differently wrong for each name; likelihoods where the task answers with them."""
    rng = numbers(name.rsplit("/", 1)[-1])
    if order.task.answers_are == "likelihood":
        units_N = rows.column("units")
        return np.stack([units_N * rng.uniform(1, 4, len(rows)), units_N, 4 * units_N], 1).astype(np.float32)
    noise = rng.normal(size=(len(rows), len(order.labels)))
    targets_N = rows.column("labels")
    return (2.0 * np.eye(len(order.labels))[np.maximum(targets_N, 0)] + noise).astype(np.float32)


def _save(path: Path, value: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, value)


def fake_trials(engines: list[FakeEngine]) -> types.ModuleType:
    """Stands for `heliostat.engine.trials`: one job after another, without a gang."""
    module = types.ModuleType("heliostat.engine.trials")

    class Sweep:
        def __init__(self, decisions: Any, engine: Any, *, most: int, order_for: Any, record: Any, stop: Any = lambda: False):
            self.decisions, self.order_for, self.record, self.stop = decisions, order_for, record, stop

        def run(self, ahead: Any = None) -> None:
            while not self.stop() and (job := self.decisions.next()) is not None:
                self.record(job, engines[-1].perform(self.order_for(job)))

    module.Sweep = Sweep  # type: ignore[attr-defined]
    return module


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[FakeEngine]:
    """Every engine a run made, in order; `heliostat run` makes fake ones while this fixture is in use."""
    made: list[FakeEngine] = []

    def make(*args: Any, **kwargs: Any) -> FakeEngine:
        made.append(FakeEngine(*args, **kwargs))
        made[-1].kill_at = FakeEngine.kill_at
        return made[-1]

    import heliostat.engine
    import heliostat.engine.driver as driver

    monkeypatch.setattr(driver, "Engine", make)
    module = fake_trials(made)
    monkeypatch.setitem(sys.modules, "heliostat.engine.trials", module)
    monkeypatch.setattr(heliostat.engine, "trials", module, raising=False)
    monkeypatch.setattr(FakeEngine, "kill_at", None)
    return made
