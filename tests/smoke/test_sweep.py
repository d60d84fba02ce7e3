"""Sweeps on real gangs: objectives, confirmation, PBT, budgets, a gang that is lost; nothing is left of them."""

from __future__ import annotations

import math
import time
from collections import Counter

import pytest
from ray._private.state import actors

from heliostat.commands.tiny import write_project
from heliostat.config import read_config
from heliostat.core.ledger import replay
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context, Workspace
from heliostat.corpus.stage import build
from heliostat.engine import trials
from heliostat.engine.cluster import OF_DATA, leftovers
from heliostat.tune.config import TuneConfig
from heliostat.tune.stage import sweep

pytestmark = pytest.mark.slow

LR = {"train.optimizer.lr": {"log_uniform": [1e-3, 3e-2]}}


@pytest.fixture(scope="module")
def project(engines, tmp_path_factory):
    """(config, corpus) of a project that is made here."""
    folder = tmp_path_factory.mktemp("project")
    train = {"epochs": 4, "batch": 8, "optimizer": {"use": "adamw", "lr": 5e-3}, "validate_every": 1.0}
    config = read_config(write_project(folder / "project", train=train))
    return config, Workspace(folder, 7, engine=engines[1]).do(build, config.corpus, task=config.task)


@pytest.fixture
def swept(engines, project, tmp_path, monkeypatch):
    """`swept(**tune)` is a whole sweep on one gang: more of them would only wait for each other on two cores."""
    config, corpus = project

    def run(beside=None, workers=1, **tune):
        engine = engines[workers]
        monkeypatch.setattr(engine, "room", lambda: 1)
        monkeypatch.setattr(engine, "widest", lambda: 1)
        ctx = Context(tmp_path / "tune", f"sweep-{tmp_path.name}", 7, engine.layout, engine, Progress(), "tune")
        settings = TuneConfig.model_validate({"space": LR, "finalists": 1, **tune})
        given = {"train": config.train, "model": config.model, "corpus": corpus, "task": config.task}
        return sweep(settings, ctx=ctx, beside=beside, **given)

    return run


def test_objectives_are_measured_and_the_finalists_confirmed_on_folds(swept, tmp_path):
    objectives = ["latency", "parameters", {"use": "domain", "metric": "log_loss"}]
    done = swept(trials=4, scheduler={"use": "asha", "eta": 2, "first": 0.5}, objectives=objectives, finalists=2, confirm={"folds": 3})
    assert done.objectives == {"latency": "min", "parameters": "min", "log_loss": "min"}
    for trial in done.trials:
        assert trial.objectives["latency"] > 0
        assert trial.objectives["parameters"] == pytest.approx(0.0225, rel=0.2)
        assert trial.objectives["log_loss"] == pytest.approx(-math.log(1 / 3), abs=1.2)
    assert set(done.front) <= {t.number for t in done.trials}
    assert [len(c.values) for c in done.confirmation.finalists] == [3, 3]
    assert [m.name for m in done.finalists] == [f"trial-{c.trial:04d}" for c in done.confirmation.finalists]
    assert done.confirmation.finalists[0].mean.value >= done.confirmation.finalists[1].mean.value
    assert (tmp_path / "tune" / "optuna.db").exists()


def test_pbt_goes_on_from_the_states_of_better_trials(swept, tmp_path):
    done = swept(trials=4, scheduler={"use": "pbt", "iterations": 4}, space={"train.optimizer.lr": {"log_uniform": [1e-6, 1e-2]}})
    assert Counter(t.state for t in done.trials) == {"completed": 4}
    jobs = [e for e in replay(tmp_path / "tune/ledger.jsonl")[0] if e["event"] == "job"]
    copied = [e for e in jobs if "parent" in e]
    assert copied, "no trial went on from another one"
    results = {(e["trial"], e["rung"]): e for e in replay(tmp_path / "tune/ledger.jsonl")[0] if e["event"] == "result"}
    for job in copied:  # the state it went on from is its parent's: so is its curve up to there
        own, parents = results[job["trial"], job["rung"]]["curve"], results[job["parent"], job["rung"] - 1]["curve"]
        assert own[: len(parents)] == parents


def test_a_gang_that_is_lost_is_replaced_and_its_job_runs_again(swept, engines, tmp_path, monkeypatch):
    import ray

    monkeypatch.setattr(trials, "LOOK_EVERY_S", 0.5)
    engine, lost = engines[1], []

    def lose(event):
        if event["kind"] == "step" and not lost and tmp_path.name in event["key"]:
            lost.append(engine.gangs[0].name)
            ray.kill(engine.gangs[0].mailbox)

    engine.listeners.append(lose)
    try:
        done = swept(trials=12, scheduler={"use": "full"})
    finally:
        engine.listeners.remove(lose)
    assert lost
    assert lost[0] not in [g.name for g in engine.gangs]
    assert Counter(t.state for t in done.trials) == {"completed": 12}
    assert max(Counter((e["trial"], e["rung"]) for e in replay(tmp_path / "tune/ledger.jsonl")[0] if e["event"] == "result").values()) == 1


def test_a_disk_budget_costs_time_and_nothing_else(swept, tmp_path):
    scheduler = {"use": "asha", "eta": 2, "first": 0.25, "decision_lag": 0}
    whole = swept(trials=6, scheduler=scheduler)
    (tmp_path / "tune").rename(tmp_path / "whole")
    tight = swept(trials=6, scheduler=scheduler, budget={"checkpoint_gb": 1e-6})
    told = [[(t.number, t.state, t.best, t.curve) for t in done.trials] for done in (whole, tight)]
    assert told[0] == told[1]
    assert tight.finalists[0].score == whole.finalists[0].score
    assert tight.spent.checkpoint_bytes < whole.spent.checkpoint_bytes


def test_trials_of_two_workers_are_swept_alike(swept):
    done = swept(workers=2, trials=3, scheduler={"use": "asha", "eta": 2, "first": 0.5})
    assert len(done.trials) == 3
    assert done.finalists[0].path.exists()


def test_a_gang_is_its_mailbox_and_its_workers(swept):
    swept(trials=1)
    told = {actor["ActorClassName"] for actor in actors().values()}
    assert {"Mailbox", "RayTrainWorker"} <= told <= {"Mailbox", "RayTrainWorker", *OF_DATA}


def test_nothing_is_left_of_the_gangs(engines):
    for engine in engines.values():
        gangs, engine.gangs = engine.gangs, []
        for gang in gangs:
            gang.close()
    until = time.monotonic() + 10  # a killed actor's process takes its leave
    while leftovers() and time.monotonic() < until:
        time.sleep(0.2)
    assert leftovers() == []
