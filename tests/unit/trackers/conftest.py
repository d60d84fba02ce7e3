"""A run and its trainings, as trackers see them, and their tools without a server."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clients.wandb_0_31 import Client
from heliostat.trackers.base import Point, Run, Training


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """`run()` is a new one, `run(resumed=True)` the same in another process."""

    def make(*, resumed: bool = False, **config: Any) -> Run:
        return Run("tiny", "0123456789abcdef", tmp_path / "tiny", {"name": "tiny", "train": {"batch": 8}, **config}, resumed)

    return make


@pytest.fixture
def training() -> Callable[..., Training]:
    """`training("tune/trial-0007", lr=0.1)` is a trial that tries a learning rate."""

    def make(name: str = "train", *, mark: str = "a1b2", total: int = 100, **settings: Any) -> Training:
        tried = {f"train.optimizer.{option}": value for option, value in settings.items()}
        return Training(f"{mark}/{name.rpartition('/')[2]}", name, total, "accuracy", {"batch": 8, "optimizer": {"use": "adamw"}}, tried)

    return make


@pytest.fixture
def losses() -> Callable[..., list[Point]]:
    """Points of the training loss at these steps."""
    return lambda *steps: [Point(step, 1000.0 + step, {"train/loss": 1 / step, "train/lr": 0.5}) for step in steps]


@pytest.fixture
def validated() -> Callable[[int, float], Point]:
    """A validation at this step."""
    return lambda step, value: Point(step, 1000.0 + step, {"valid/accuracy": value})


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Client:
    """W&B's client, recorded."""
    client = Client()
    monkeypatch.setitem(sys.modules, "wandb", client)  # type: ignore[arg-type]
    return client


@pytest.fixture
def mlflow_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """MLflow in plain files: a database takes it half a minute to make."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return (tmp_path / "mlruns").as_uri()
