"""What the books of a sweep cost: decisions, ledger, replies, all that happens in the driver for every event, without a gang."""

from __future__ import annotations

import gc
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench.figures import figure, met
from heliostat.artifacts import Corpus
from heliostat.core import seeds
from heliostat.core.layout import Layout
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context
from heliostat.engine.orders import Reply
from heliostat.tasks.config import ModelConfig
from heliostat.tasks.text_classification import TextClassification
from heliostat.train.config import TrainConfig
from heliostat.tune import running
from heliostat.tune.config import TuneConfig
from heliostat.tune.running import Ground, Running
from heliostat.tune.trial import Sections

SIZES = (100, 200, 500, 1000, 2000, 5000)
REPEATS = 3


def books(folder: Path, trials: int, monkeypatch) -> Running:
    """A sweep whose trainings are made up."""

    def training(config, *, ctx, source, corpus, task, key="train"):
        own = {"task": task, "key": f"{ctx.fingerprint}/{key}", "folder": ctx.folder / key, "model": source, "labels": ("a", "b")}
        return own | {"train": config, "train_rows": folder, "valid_rows": folder, "total": 81, "micro_rows": 16}

    monkeypatch.setattr(running, "training", training)
    engine: Any = SimpleNamespace(gangs=["gang-0", "gang-1"])
    ctx = Context(folder, "books", 7, Layout(), engine, Progress(), "tune")
    task = TextClassification()
    corpus = Corpus(fingerprint="c", path=folder, labels=("a", "b"), rows={}, dropped={}, read=0)
    config = TuneConfig(trials=trials, scheduler={"use": "asha", "eta": 3, "first": 1 / 27, "decision_lag": None})
    return Running(config, ctx, Ground(Sections(TrainConfig(), ModelConfig(path=str(folder)), task), corpus))


def played(run: Running) -> int:
    """Every job decided, ordered and answered at once; the number of events."""
    while (job := run.decisions.next()) is not None:
        order = run.order_for(job)
        value = float(seeds.rng(1, "books", job.trial, job.rung).random())
        curve = [{"step": i, "epoch": i / 27, "value": value, "loss": 1 - value} for i in range(1, order.until // 3 + 1)]
        run.record(job, Reply(value={"best": {"step": order.until, "value": value}, "curve": curve, "busy_s": 1.0}))
    return 2 * len(run.decisions.results)


def test_sweep_slope(tmp_path: Path, monkeypatch) -> None:
    """Cost per event is flat from 100 to 5,000 trials, and so is the driver's memory."""
    monkeypatch.setattr("os.fsync", lambda fd: None)  # the disk's time is the same for every event, and noisy
    slopes, costs = [], []
    for repeat in range(REPEATS):
        seconds = []
        for trials in SIZES:
            run = books(tmp_path / f"{repeat}-{trials}", trials, monkeypatch)
            gc.collect()
            began = time.perf_counter()
            events = played(run)
            seconds.append(time.perf_counter() - began)
            run.ledger.close()
            assert len(run.decisions.settings) == trials
        costs.append(1e3 * seconds[-1] / events)
        slopes.append(float(np.polyfit(np.log(SIZES), np.log(seconds), 1)[0]))
    against = f"log-log slope of the whole time over {SIZES[0]} to {SIZES[-1]:,} trials; {costs[-1]:.2f} ms an event"
    figure("sweep.slope", slopes, "<= 1.05", met("<= 1.05", slopes), against)


def test_sweep_driver_memory(tmp_path: Path, monkeypatch) -> None:
    """Bytes the driver holds for a trial do not grow with the number of trials."""
    held = {}
    for trials in (200, 2000):
        gc.collect()
        tracemalloc.start()
        run = books(tmp_path / str(trials), trials, monkeypatch)
        assert played(run) >= 2 * trials
        gc.collect()
        held[trials] = tracemalloc.get_traced_memory()[0] / trials
        tracemalloc.stop()
        run.ledger.close()
    ratio = [held[2000] / held[200]]
    against = f"bytes held for each trial of 2,000 ({held[2000]:,.0f}) and of 200"
    figure("sweep.driver_memory", ratio, "<= 1.1", met("<= 1.1", ratio), against)
