"""What a plan reckons: rows, steps, jobs, memory."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from heliostat.commands import estimates
from heliostat.commands.updates import Ahead
from heliostat.config import read_config
from heliostat.core.family import build
from heliostat.core.layout import Layout
from heliostat.train.config import TrainConfig


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


def test_steps_of_trials_that_differ(tiny_config: Path) -> None:
    def of(*assignments: str) -> tuple[int, int] | None:
        run = read_config(tiny_config, assignments)
        return estimates.step_range(run, Ahead(run.train, run.task, 160, run.seed))

    assert of("tune.space={train.batch: {choice: [8, 16]}, train.epochs: {int: [1, 3]}}") == (10, 60)
    assert of("tune.trials=4") == (80, 80)
    assert of("tune.space={train.batch_tokens: {choice: [null, 64]}}") is None


def test_models_a_sweep_may_train(tiny_config: Path) -> None:
    run = read_config(tiny_config, ["tune.space={model.layers: {choice: [1, 2]}}"])
    assert [model.layers for model in estimates.models(run)] == [None, 1, 2]
    assert estimates.models(read_config(tiny_config)) == [run.model]


def test_memory_follows_zero() -> None:
    def of(zero: int, workers: int, trained: int = 1000, **train: object) -> float:
        return estimates.footprint(1000, trained, TrainConfig(**train), Layout(workers=workers)).at(zero)

    assert [of(zero, 4) for zero in (0, 1, 2, 3)] == [16_000, 10_000, 7_000, 4_000]
    assert of(0, 1, optimizer="sgd") == 12_000
    assert of(0, 1, trained=10) == 4_120


def test_checkpoints_hold_what_is_trained() -> None:
    assert estimates.checkpoint_bytes(1000, TrainConfig()) == (12_000, 4_000)
    assert estimates.checkpoint_bytes(1000, TrainConfig(optimizer="sgd")) == (8_000, 4_000)
