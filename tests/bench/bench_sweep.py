"""What a sweep costs beside the training itself: `make bench ONLY=sweep`. One JSON line per figure."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from pathlib import Path

from heliostat.artifacts import Corpus, Sweep
from heliostat.commands.tiny import write_project
from heliostat.config import read_config
from heliostat.core.layout import Layout
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context, Workspace
from heliostat.corpus.stage import build
from heliostat.engine.cluster import leftover_placement_groups
from heliostat.engine.driver import Engine
from heliostat.tune.stage import sweep

TRIALS, REPEATS, SLOTS = 24, 5, 2


def figure(name: str, values: list[float], goal: str, holds: bool, against: str) -> None:
    """Print one figure: the median of the repeats, with their range."""
    middle = statistics.median(values)
    told = {"name": name, "value": round(middle, 3), "low": round(min(values), 3), "high": round(max(values), 3)}
    print(json.dumps(told | {"goal": goal, "holds": holds, "against": against}), flush=True)


def overhead_ms(done: Sweep) -> float:
    """Slot time that was not spent on a training, per trial."""
    return 1e3 * (done.slots * done.wall_s - done.busy_s) / len(done.trials)


def test_sweep_overhead(tmp_path: Path) -> None:
    """Warm gangs, trials of about a second: what a trial costs beside its training, and the share of useful time."""
    tune = {"trials": TRIALS, "scheduler": "full", "finalists": 1}
    train = {"epochs": 3, "batch": 4, "optimizer": {"use": "adamw", "lr": 1e-3}, "validate_every": 3}
    config = read_config(write_project(tmp_path / "project", rows=300, tune=tune, train=train))
    assert config.tune is not None
    sweeps = []
    with Engine(Layout(), tmp_path, side_by_side=SLOTS) as engine:
        corpus: Corpus = Workspace(tmp_path, 7, engine=engine).do(build, config.corpus, task=config.task)
        for repeat in range(REPEATS + 1):
            ctx = Context(tmp_path / f"tune-{repeat}", f"bench-{repeat}", repeat, engine.layout, engine, Progress(), "tune")
            sweeps.append(sweep(config.tune, ctx=ctx, train=config.train, model=config.model, corpus=corpus, task=config.task))
        gangs, engine.gangs = engine.gangs, []
        for gang in gangs:
            gang.close()
        left = leftover_placement_groups()
    for done in sweeps:
        assert Counter(t.state for t in done.trials) == {"completed": TRIALS}
        assert all(t.curve[-1].step == sweeps[0].trials[0].curve[-1].step for t in done.trials)
    assert left == 0
    warm = sweeps[1:]  # the first one waits for the gangs to come up
    costs = [overhead_ms(done) for done in warm]
    trial_s = statistics.median(t.busy_s for done in warm for t in done.trials)
    figure(
        "sweep.overhead_ms",
        costs,
        "<= 50",
        statistics.median(costs) <= 50,
        f"the trial's own {trial_s:.2f} s, {SLOTS} slots, {TRIALS} trials",
    )
    useful = [done.goodput for done in warm]
    figure(
        "sweep.goodput_1s",
        useful,
        ">= 0.90",
        statistics.median(useful) >= 0.90,
        f"slots x wall, {TRIALS} trials of {trial_s:.2f} s, start-up excluded",
    )
