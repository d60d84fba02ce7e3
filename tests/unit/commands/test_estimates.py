"""What a plan reckons: rows, steps, jobs, memory."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from heliostat.commands import estimates
from heliostat.commands.tiny import write_model
from heliostat.core.family import build
from heliostat.core.layout import Layout
from heliostat.tasks.config import ModelConfig
from heliostat.train.config import LoraConfig, TrainConfig
from heliostat.tune.config import TuneConfig


def test_rows_of_files(tmp_path: Path) -> None:
    text = "text,label\n" + "".join(f"row {i},a\n" for i in range(50))
    (tmp_path / "a.csv").write_text(text)
    (tmp_path / "b.csv").write_text(text.rstrip("\n"))
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert estimates.source_rows(build("corpus.sources", {"use": "csv", "paths": [str(tmp_path)]})) == 150


def test_rows_of_large_files_are_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "COUNTED_BYTES", 1 << 20)
    (tmp_path / "a.jsonl").write_text('{"text": "abcdefghij"}\n' * 300_000)
    rows = estimates.source_rows(build("corpus.sources", {"use": "jsonl", "paths": [str(tmp_path)]}))
    assert abs(rows / 300_000 - 1) < 0.01


def test_steps() -> None:
    assert [estimates.steps(TrainConfig(epochs=e, batch=16), 100) for e in (1, 0.5, 3, 0.001)] == [7, 4, 21, 1]


def test_a_sweep_is_simulated() -> None:
    asha = estimates.sweep_cost(TuneConfig(trials=64, scheduler={"use": "asha", "eta": 4, "first": 1 / 16}), 7)
    assert asha.jobs[0] == 64
    assert asha.jobs[0] > asha.jobs[1] > asha.jobs[2] >= 1
    assert asha.trainings < 0.4 * 64, "early stopping saves most of the work"
    full = estimates.sweep_cost(TuneConfig(trials=5, scheduler="full", finalists=2), 7)
    assert (full.jobs, full.trainings) == ((5,), 5.0)


def test_memory_follows_zero(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    params = estimates.parameters(ModelConfig(path=str(tmp_path / "model")))
    fewer = estimates.parameters(ModelConfig(path=str(tmp_path / "model"), layers=1))
    assert params is not None
    assert fewer is not None
    assert 0 < fewer < params

    def of(zero: int, workers: int, **train: object) -> float:
        return estimates.memory_bytes(1000, TrainConfig(**train), Layout(zero=zero, workers=workers))

    assert [of(zero, 4) for zero in (0, 1, 2, 3)] == [16_000, 10_000, 7_000, 4_000]
    assert of(0, 1, optimizer="sgd") == 12_000
    assert of(0, 1, lora=LoraConfig()) < 5_000
