"""What a sweep costs beside the training itself: `make bench ONLY=sweep`. One JSON line per figure."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from pathlib import Path

import pytest
import ray

from bench import plain
from bench.figures import figure, met
from bench.ground import SLOTS, Ground, ground, left_over
from heliostat.artifacts import Sweep
from heliostat.core.layout import Layout
from heliostat.engine.driver import Engine

REPEATS = 5
STARTS = 5


def overhead_ms(done: Sweep) -> float:
    """Slot time that was not spent on a training, per trial."""
    return 1e3 * (done.slots * done.wall_s - done.busy_s) / len(done.trials)


def checked(place: Ground, sweeps: list[Sweep], trials: int) -> None:
    """Every trial made all its steps, and nothing is left of the gangs."""
    for done in sweeps:
        assert Counter(t.state for t in done.trials) == {"completed": trials}
        assert all(t.curve[-1].step == sweeps[0].trials[0].curve[-1].step for t in done.trials)
    assert place.let_gangs_go() == []


def test_sweep_overhead(tmp_path: Path) -> None:
    """Warm gangs, short trials: what a trial costs beside its training."""
    trials = 100
    with ground(tmp_path, steps=20, trials=trials) as place:
        sweeps = [place.sweep(f"sweep-{i}") for i in range(REPEATS + 1)]
        checked(place, sweeps, trials)
    costs = [overhead_ms(done) for done in sweeps[1:]]  # the first one waits for the gangs to come up
    own = statistics.median(t.busy_s for done in sweeps[1:] for t in done.trials)
    figure("sweep.overhead_ms", costs, "<= 50", met("<= 50", costs), f"the trial's own {own:.2f} s, {SLOTS} slots, {trials} trials")


def test_sweep_start(tmp_path: Path) -> None:
    """From nothing to workers that wait for work, on a cluster that has just come up: Ray's trainers, side by side, against gangs."""
    ratios, seconds = [], []
    for pair in range(STARTS):
        with Engine(Layout(), tmp_path / f"theirs-{pair}", side_by_side=0) as engine:
            engine.connect()
            theirs = plain.trainers(SLOTS, tmp_path / f"theirs-{pair}")
            assert left_over() == []
        with Engine(Layout(), tmp_path / f"ours-{pair}", side_by_side=0) as engine:
            engine.connect()
            began = time.monotonic()
            gangs = engine.muster(SLOTS)
            ray.get([gang.up() for gang in gangs])
            seconds.append(time.monotonic() - began)
            assert all(len(gang.nodes()) == 1 for gang in gangs)
        ratios.append(theirs / seconds[-1])
    told = f"{SLOTS} TorchTrainers side by side; ours {statistics.median(seconds):.1f} s, {STARTS} pairs of clusters"
    figure("sweep.start", ratios, None, None, told)


def steps_in(folder: Path, seconds: float) -> int:
    """Updates that a trial makes in so many seconds on this machine, both slots at work."""
    tried = 200
    with ground(folder, steps=tried, trials=8, side_by_side=SLOTS) as place:
        own = statistics.median(t.busy_s for t in place.sweep("tried").trials)
    return round(tried * seconds / own)


@pytest.mark.parametrize(("name", "seconds", "trials", "goal"), [
    ("sweep.goodput_1s", 1, (200, 200), ">= 0.90"),
    ("sweep.goodput_10s", 10, (100, 20), ">= 0.97"),
])  # fmt: skip
def test_sweep_goodput(tmp_path: Path, name: str, seconds: float, trials: tuple[int, int], goal: str) -> None:
    """Useful training seconds over slots x wall: with warm gangs, and from the call that starts the gangs to the exported winner."""
    cold, warm = trials
    steps = steps_in(tmp_path / "tried", seconds)
    with ground(tmp_path, steps=steps, trials=cold, side_by_side=0) as place:
        began = time.monotonic()
        first = place.sweep("cold")
        cold_s = time.monotonic() - began
        sweeps = [place.sweep(f"warm-{i}", trials=warm) for i in range(2)]
        checked(place, sweeps, warm)
    assert Counter(t.state for t in first.trials) == {"completed": cold}
    own = statistics.median(t.busy_s for t in first.trials)
    excluded = [done.goodput for done in sweeps]
    figure(name, excluded, goal, met(goal, excluded), f"slots x wall, {warm} trials of {own:.2f} s, start-up excluded")
    included = [first.busy_s / (SLOTS * cold_s)]
    against = f"slots x wall, {cold} trials of {own:.2f} s, from the start of the gangs to the exported winner"
    figure(f"{name}_cold", included, goal, met(goal, included), against)
