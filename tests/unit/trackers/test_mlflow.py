"""Runs, nested runs, parameters and points as MLflow's own client gives them back."""

from __future__ import annotations

import pytest

from heliostat.core.family import build
from heliostat.trackers.base import Outcome, Reached

pytest.importorskip("mlflow")

OUTCOME = Outcome("student", "as good and smaller", {"student": {"domain/accuracy": 0.75}}, {"accuracy >= 0.7": True, "small": False})


@pytest.fixture
def opened(run, mlflow_files):
    """`opened(resumed=True)`: the record of the run in another process."""
    tracker = build("trackers", {"use": "mlflow", "tracking_uri": mlflow_files, "experiment": "tests", "tags": {"team": "one"}})
    return lambda **told: tracker.open(run(**told))


def all_runs(record):
    return {found.data.tags["mlflow.runName"]: found for found in record.client.search_runs([record.experiment])}


def points(record, name, metric):
    run = all_runs(record)[name]
    return [(point.step, point.value, point.timestamp) for point in record.client.get_metric_history(run.info.run_id, metric)]


def test_every_training_is_a_nested_run_with_its_parameters(opened, training, losses, validated):
    record = opened()
    for own in (training("train"), training("tune/trial-0007", lr=0.5)):
        assert record.begin(own) == Reached()
        record.write(own, [*losses(1, 2), validated(2, 0.25)])
        record.end(own, failed=own.stage == "tune")
    record.close("finished")
    found = all_runs(record)
    whole, single, trial = found["tiny"], found["train"], found["tune/trial-0007"]
    assert whole.data.params == {"name": "tiny", "train.batch": "8"}
    assert whole.data.tags["team"] == "one"
    assert {run.data.tags["mlflow.parentRunId"] for run in (single, trial)} == {whole.info.run_id}
    assert single.data.params == {"train.batch": "8", "train.optimizer.use": "adamw"}
    assert trial.data.params == {**single.data.params, "train.optimizer.lr": "0.5"}
    assert points(record, "train", "train/loss") == [(1, 1.0, 1_001_000), (2, 0.5, 1_002_000)]
    assert points(record, "train", "valid/accuracy") == [(2, 0.25, 1_002_000)]
    assert [run.info.status for run in (whole, single, trial)] == ["FINISHED", "FINISHED", "FAILED"]


def test_another_process_finds_its_runs_and_goes_on(opened, training, losses, validated):
    own, stopped = training("tune/trial-0001", lr=0.5), training("tune/trial-0002", lr=0.25)
    first = opened()
    for each in (own, stopped):
        first.begin(each)
        first.write(each, [*losses(1, 2, 3), validated(3, 0.25)])
    first.close("killed")
    assert {run.info.status for run in all_runs(first).values()} == {"KILLED"}
    again = opened(resumed=True)
    assert all_runs(again)["tiny"].info.status == "RUNNING"
    assert again.begin(own) == Reached(train=3, valid=3)
    assert not again.back_to(own, 2), "MLflow forgets nothing: what comes again is left out"
    again.write(own, losses(4))
    again.end(own, failed=False)
    again.close("finished")
    assert len(all_runs(again)) == 3
    assert [step for step, *_ in points(again, own.name, "train/loss")] == [1, 2, 3, 4]
    assert {run.info.status for run in all_runs(again).values()} == {"FINISHED"}, "one that stays paused to the end was stopped"


def test_a_run_with_another_config_is_another_run_and_its_trainings_come_along(opened, training, losses):
    own = training("train")
    first = opened()
    first.begin(own)
    first.write(own, losses(1, 2))
    first.close("failed")
    again = opened(resumed=True, seed=8)
    assert again.parent != first.parent
    assert again.begin(own) == Reached(train=2)
    runs = again.client.search_runs([again.experiment], f"tags.`mlflow.parentRunId` = '{again.parent}'")
    assert [run.data.tags["mlflow.runName"] for run in runs] == ["train"]
    assert opened(resumed=True, seed=8, trackers=[]).parent == again.parent, "trackers are no setting of the run"


def test_what_came_out_is_on_the_run_itself(opened):
    record = opened()
    record.finish(OUTCOME)
    found = all_runs(record)["tiny"].data
    assert found.metrics == {"test/student/domain/accuracy": 0.75, "gate/accuracy __ 0.7": 1.0, "gate/small": 0.0}
    said = {name: found.tags[f"heliostat.{name}"] for name in ("ship", "because", "gates")}
    assert said == {"ship": "student", "because": "as good and smaller", "gates": "not met"}


def test_more_than_one_request_holds_is_sent_in_pieces(opened, training, losses):
    record = opened(**{f"option{i}": "x" * 9000 for i in range(150)})
    own = training("train")
    record.begin(own)
    record.write(own, losses(*range(1, 701)))
    assert len(points(record, "train", "train/loss")) == 700
    params = all_runs(record)["tiny"].data.params
    assert len(params) == 152
    assert len(params["option7"]) == 6000


def test_runs_are_kept_next_to_each_other_unless_a_server_is_named(run, monkeypatch):
    from heliostat.trackers import mlflow

    asked = []
    monkeypatch.setattr(mlflow, "Runs", lambda run, uri, *rest: asked.append(uri))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    build("trackers", "mlflow").open(run())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://named:5000")
    build("trackers", "mlflow").open(run())
    build("trackers", {"use": "mlflow", "tracking_uri": "http://given:5000"}).open(run())
    assert asked == [f"sqlite:///{run().folder.parent}/mlflow.db", "http://named:5000", "http://given:5000"]


@pytest.mark.parametrize(
    ("uri", "near"), [("file:///data/mlruns", "sqlite:////data/mlruns/mlflow.db"), ("mlruns/", "sqlite:///mlruns/mlflow.db")]
)
def test_plain_files_are_refused_as_mlflow_would(uri, near, monkeypatch):
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    (told,) = build("trackers", {"use": "mlflow", "tracking_uri": uri}).problems()
    assert told.startswith(f"tracking_uri: '{uri}' is a folder")
    assert near in told
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert build("trackers", {"use": "mlflow", "tracking_uri": uri}).problems() == []


def test_a_password_does_not_belong_in_a_config():
    (told,) = build("trackers", {"use": "mlflow", "tracking_uri": "postgresql://me:secret@host/db"}).problems()
    assert "secret" not in told
    assert "MLFLOW_TRACKING_URI" in told


@pytest.mark.parametrize("uri", ["http://mlflow:5000", "sqlite:///x.db", "databricks", "databricks://profile", "postgresql://host/db"])
def test_servers_and_databases_are_not(uri):
    assert build("trackers", {"use": "mlflow", "tracking_uri": uri}).problems() == []
