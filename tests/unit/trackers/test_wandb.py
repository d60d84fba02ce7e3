"""What W&B's client is given: one run per training, each step once, a bounded number of runs open."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from clients.wandb_0_31 import Client, differences
from heliostat.core.errors import UserError
from heliostat.core.family import build
from heliostat.trackers.base import Outcome, Reached
from heliostat.trackers.wandb import OPEN

OUTCOME = Outcome("student", "as good and smaller", {"student": {"domain/accuracy": 0.75}}, {"small": False})
REAL = importlib.util.find_spec("wandb") is not None


@pytest.fixture
def opened(run, wandb):
    options = {"use": "wandb", "project": "texts", "entity": "team", "tags": ["one"]}
    return lambda mode="online", **told: build("trackers", {**options, "mode": mode}).open(run(**told))


def sent(wandb, name):
    (found,) = [run for run in wandb.runs.values() if run.given["name"] == f"tiny/{name}"]
    return found


def test_every_training_is_a_run_in_the_group_of_the_run(opened, wandb, training, losses, validated, run):
    record = opened()
    for own in (training("train"), training("tune/trial-0007", lr=0.5)):
        assert record.begin(own) == Reached()
        record.write(own, [*losses(1, 2), validated(2, 0.25)])
        record.end(own, failed=own.stage == "tune")
    record.close("finished")
    trial = sent(wandb, "tune/trial-0007")
    assert trial.rows == {1: {"train/loss": 1.0, "train/lr": 0.5}, 2: {"train/loss": 0.5, "train/lr": 0.5, "valid/accuracy": 0.25}}
    given = {name: trial.given[name] for name in ("project", "entity", "group", "job_type", "tags", "mode", "dir")}
    place = {"project": "texts", "entity": "team", "mode": "online", "dir": str(run().folder)}
    assert given == {**place, "group": "tiny", "job_type": "tune", "tags": ["one"]}
    assert trial.given["config"] == {"train.batch": 8, "train.optimizer.use": "adamw", "train.optimizer.lr": 0.5}
    assert (sent(wandb, "train").exit_code, trial.exit_code) == (0, 1)
    assert wandb.alive == []


def test_another_process_goes_on_in_the_same_run(opened, wandb, training, losses):
    own, first = training("train"), opened()
    first.begin(own)
    first.write(own, losses(1, 2, 3))
    first.close("killed")
    assert sent(wandb, "train").exit_code == 1
    again = opened(resumed=True)
    assert again.begin(own) == Reached(3, 3)
    assert not again.back_to(own, 2)
    again.write(own, losses(4))
    again.end(own, failed=False)
    assert list(sent(wandb, "train").rows) == [1, 2, 3, 4]
    assert sent(wandb, "train").exit_code == 0
    assert len(wandb.runs) == 1


def test_a_wide_sweep_keeps_few_runs_open(opened, wandb, training, losses):
    record = opened()
    trials = [training(f"tune/trial-{n:04d}", lr=n) for n in range(OPEN + 8)]
    for at in (1, 2):
        for own in trials:
            if at == 1:
                record.begin(own)
            record.write(own, losses(at))
    assert wandb.most_alive == OPEN
    record.close("finished")
    assert all(list(run.rows) == [1, 2] and run.ignored == 0 for run in wandb.runs.values())
    assert wandb.alive == []


def test_what_came_out_is_the_summary_of_a_run_of_its_own(opened, wandb):
    record = opened()
    record.finish(OUTCOME)
    found = sent(wandb, "report")
    said = {"ship": "student", "because": "as good and smaller", "passed": False}
    assert found.summary == {**said, "test/student/domain/accuracy": 0.75, "gate/small": False}
    assert found.given["config"] == {"name": "tiny", "train": {"batch": 8}}
    assert wandb.alive == []


def test_without_a_key_it_asks_nobody_and_says_what_to_do(run, monkeypatch):
    client = Client(key=False)
    monkeypatch.setitem(sys.modules, "wandb", client)
    with pytest.raises(UserError, match=r"WANDB_API_KEY.*wandb login.*mode: offline"):
        build("trackers", "wandb").open(run())
    build("trackers", {"use": "wandb", "mode": "offline"}).open(run())


@pytest.mark.skipif(not REAL, reason="wandb is not installed: pip install 'heliostat[wandb]'")
def test_the_real_client_has_all_that_the_recorded_one_has():
    import wandb

    assert differences(wandb) == []


@pytest.mark.skipif(not REAL, reason="wandb is not installed: pip install 'heliostat[wandb]'")
def test_the_real_client_keeps_it_all_offline(run, training, losses, validated):
    record, own = build("trackers", {"use": "wandb", "mode": "offline"}).open(run()), training("tune/trial-0001", lr=0.5)
    run().folder.mkdir()
    record.begin(own)
    record.write(own, [*losses(1, 2), validated(2, 0.25)])
    record.end(own, failed=False)
    record.finish(OUTCOME)
    record.close("finished")
    importlib.import_module("wandb").teardown()  # its service writes behind
    kept = [path.read_bytes() for path in run().folder.glob("wandb/offline-run-*/*.wandb")]
    assert len(kept) == 2
    words = (b"train/loss", b"valid/accuracy", b"train.optimizer.lr", b"tiny/tune/trial-0001", b"as good and smaller")
    assert all(any(word in one for one in kept) for word in words)
