"""Trackers along the whole story: what they show is what came true, through kills; what they do is no matter of the run."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from flow.fake import FakeEngine, Killed
from heliostat.cli import main
from heliostat.commands.tiny import write_project
from heliostat.trackers.tensorboard import Folders

SWEEP: dict[str, Any] = {
    "tune": {"trials": 4, "space": {"train.optimizer.lr": {"log_uniform": [1e-4, 1e-2]}}, "finalists": 2},
    "distil": {"layers": 1, "train": {"batch": 8, "objective": "distillation"}},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project", **SWEEP)


def run(config: Path, *options: str) -> int:
    return main(["run", str(config), "--storage", str(config.parent / "runs"), *options])


def folder(config: Path, name: str = "tiny") -> Path:
    return config.parent / "runs" / name


def curves(root: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Training to tag to [(step, value)], as TensorBoard shows them."""
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for place in sorted({file.parent for file in (root / "tensorboard").rglob("*tfevents*")}):
        read = EventAccumulator(str(place), size_guidance={"scalars": 0}).Reload()
        points = {tag: [(event.step, round(event.value, 5)) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}
        found[str(place.relative_to(root / "tensorboard"))] = points
    return found


def output(root: Path, stage: str) -> dict[str, Any]:
    return json.loads((root / stage / "manifest.json").read_text())["output"]


def test_tensorboard_shows_what_came_true(config: Path, engines: list[FakeEngine]) -> None:
    assert run(config) == 0
    root, found = folder(config), curves(folder(config))
    trials = {f"tune/trial-{trial['number']:04d}": trial for trial in output(root, "tune")["trials"]}
    models = {f"report/{model['name']}" for model in json.loads((root / "report" / "report.json").read_text())["models"]}
    assert found.keys() == {"distil", "report", *trials, *models}
    for name, trial in trials.items():
        last = trial["best_step"]
        step, value = found[name]["valid/accuracy"][-1]
        assert (step, value) == (last, pytest.approx(trial["best"], abs=1e-5)), "the last validation is never lost"  # rounded
        assert [step for step, _ in found[name]["train/loss"]] == list(range(1, last + 1))
    scored = {model["name"]: model["scores"]["domain"]["accuracy"]["value"] for model in output(root, "evaluate")["models"]}
    for name, value in scored.items():
        assert found[f"report/{name}"]["test/domain/accuracy"] == [(0, pytest.approx(value, abs=1e-5))]  # rounded
    assert engines


def test_a_single_training_is_called_train(config: Path, engines: list[FakeEngine]) -> None:
    assert run(config, "--set", "tune=null", "--set", "distil=null") == 0
    found = curves(folder(config))
    assert {name for name in found if not name.startswith("report")} == {"train"}
    assert found["train"]["valid/accuracy"]
    assert engines


def test_a_kill_leaves_every_curve_whole(
    config: Path, engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(config, "--name", "whole") == 0
    expected = curves(folder(config, "whole"))
    trained = [at for at, kind in enumerate(engines[-1].performed) if kind == "Train"]
    for at in (trained[1], trained[len(trained) // 2], trained[-1]):
        name = f"killed-{at}"
        monkeypatch.setattr(FakeEngine, "kill_at", at)
        with pytest.raises(Killed):
            run(config, "--name", name)
        monkeypatch.setattr(FakeEngine, "kill_at", None)
        assert run(config, "--name", name) == 0
        assert curves(folder(config, name)) == expected, f"killed at order {at}"
    assert "nothing more is written" not in capfd.readouterr().err


def test_a_stage_that_is_made_again_is_drawn_again(config: Path, engines: list[FakeEngine]) -> None:
    assert run(config) == 0
    before = curves(folder(config))
    assert run(config, "--set", "distil.train.epochs=2", "--replace") == 0
    after = curves(folder(config))
    assert {name for name in before if before[name] != after[name] and not name.startswith("report")} == {"distil"}
    assert len(after["distil"]["train/loss"]) == 2 * len(before["distil"]["train/loss"])
    assert engines


def test_a_tracker_that_breaks_is_told_of_once_and_the_run_goes_on(
    config: Path, engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(self: Folders, training: Any, points: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Folders, "write", full)
    assert run(config) == 0
    err = capfd.readouterr().err
    assert err.count("tensorboard: nothing more is written, and the run goes on: OSError: [Errno 28] No space left on device") == 1
    assert "Traceback" not in err
    assert "Traceback" in (folder(config) / "logs" / "driver.log").read_text()
    assert engines


def test_trackers_are_no_part_of_what_a_run_is(config: Path, engines: list[FakeEngine]) -> None:
    assert run(config) == 0
    shutil.rmtree(folder(config) / "tensorboard")
    (folder(config) / "tracking.json").unlink()
    assert run(config, "--set", "trackers=[{use: tensorboard, points: 9}]") == 0
    assert engines[1].performed == []
    assert set(curves(folder(config))) >= {"report", "report/student"}, "what came out is there, for a tracker that was not"


def test_a_client_that_is_not_installed_is_refused_before_anything_starts(
    config: Path, engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "mlflow" else there(name, *rest))
    assert run(config, "--set", "trackers=[tensorboard, {use: mlflow}]") == 2
    err = capfd.readouterr().err
    assert "trackers.1: the Python package 'mlflow' is not installed" in err
    assert "pip install 'heliostat[mlflow]'" in err
    assert engines == []
    assert not folder(config).exists()


def test_mlflow_has_the_whole_run_once(config: Path, engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = (config.parent / "mlruns").as_uri()
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    options = ("--set", f"trackers=[{{use: mlflow, tracking_uri: '{uri}'}}]")
    monkeypatch.setattr(FakeEngine, "kill_at", 9)
    with pytest.raises(Killed):
        run(config, *options)
    monkeypatch.setattr(FakeEngine, "kill_at", None)
    for _ in range(2):
        assert run(config, *options) == 0
    client = mlflow.MlflowClient(uri)
    found = {one.data.tags["mlflow.runName"]: one for one in client.search_runs([client.get_experiment_by_name("heliostat").experiment_id])}
    root = folder(config)
    trials = {f"tune/trial-{trial['number']:04d}": trial for trial in output(root, "tune")["trials"]}
    assert found.keys() == {"tiny", "distil", *trials}
    for name, trial in trials.items():
        history = client.get_metric_history(found[name].info.run_id, "valid/accuracy")
        assert [point.step for point in history] == sorted({point.step for point in history})
        assert (history[-1].step, history[-1].value) == (trial["best_step"], trial["best"])
        assert found[name].data.params["train.optimizer.lr"] == str(trial["settings"]["train.optimizer.lr"])
    assert {one.info.status for one in found.values()} == {"FINISHED"}
    verdict = output(root, "report")
    assert found["tiny"].data.tags["heliostat.ship"] == verdict["ship"]
    assert found["tiny"].data.params["tune.trials"] == "4"
    assert len(client.get_metric_history(found["tiny"].info.run_id, "test/student/domain/accuracy")) == 1
    assert engines
