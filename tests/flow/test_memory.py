"""The whole story with a fake engine: finished stages are kept, differences refused, and a kill anywhere costs nothing that was done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flow.fake import FakeEngine, Killed
from heliostat.cli import main
from heliostat.commands.tiny import write_project
from heliostat.engine.streams import rows_in

SWEEP: dict[str, Any] = {
    "tune": {"trials": 4, "space": {"train.optimizer.lr": {"log_uniform": [1e-4, 1e-2]}}, "finalists": 3},
    "ensemble": {"candidates": 3},
    "distil": {"layers": 1, "train": {"batch": 8, "objective": "distillation"}},
}
STAGES = ["corpus", "evaluate-base", "tune", "ensemble", "distil", "evaluate", "report"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project", **SWEEP)


def run(config: Path, *options: str) -> int:
    return main(["run", str(config), "--storage", str(config.parent / "runs"), *options])


def folder(config: Path) -> Path:
    return config.parent / "runs" / "tiny"


def finished(root: Path) -> dict[str, float]:
    """Finished stages, with the time each was finished."""
    return {path.parent.name: json.loads(path.read_text())["finished_unix"] for path in root.glob("*/manifest.json")}


def outcome(root: Path) -> dict[str, Any]:
    """What the run found, without the times it took."""
    report = json.loads((root / "report" / "report.json").read_text())
    trials = json.loads((root / "tune" / "manifest.json").read_text())["output"]["trials"]
    return {"verdict": report["verdict"], "models": report["models"], "rows": report["corpus"], "trials": trials}


def test_a_second_run_keeps_every_stage(config: Path, engines: list[FakeEngine], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(config) == 0
    out, err = capfd.readouterr()
    assert out == f"{folder(config)}\n", "the run's folder is all of stdout"
    assert [line.split(":")[0] for line in err.splitlines() if ": done in" in line] == STAGES
    times = finished(folder(config))
    assert sorted(times) == sorted(STAGES)
    assert engines[0].performed
    assert run(config) == 0
    assert finished(folder(config)) == times
    assert engines[1].performed == []
    assert capfd.readouterr().err.count("kept") == len(STAGES)


def test_a_difference_is_refused_before_anything_starts(config: Path, engines: list[FakeEngine], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(config) == 0
    story = (folder(config) / "run.json").read_text()
    times = finished(folder(config))
    capfd.readouterr()
    assert run(config, "--set", "distil.layers=2") == 2
    err = capfd.readouterr().err
    assert "config.layers: 1 -> 2" in err
    assert "--replace" in err
    assert len(engines) == 1, "no engine was made"
    assert (folder(config) / "run.json").read_text() == story
    assert run(config, "--set", "distil.layers=2", "--replace") == 0
    kept = {name for name, at in finished(folder(config)).items() if times[name] == at}
    assert kept == {"corpus", "evaluate-base", "tune", "ensemble"}


def test_another_width_changes_nothing(config: Path, engines: list[FakeEngine], tmp_path: Path) -> None:
    assert run(config) == 0
    wide = tmp_path / "layout.yaml"
    wide.write_text("workers: 4\nlocal_cpus: 4\nzero: 2\n")
    assert run(config, "--cluster", str(wide)) == 0
    assert engines[1].performed == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_in_any_stage_keeps_what_was_done(
    config: Path, engines: list[FakeEngine], stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from heliostat.core.workspace import Workspace

    whole = Workspace._run

    def killed(self: Workspace, of: Any, settings: Any, name: str, *rest: Any) -> Any:
        def half(*args: Any, **kwargs: Any) -> Any:
            of(*args, **kwargs)
            raise Killed

        half.__module__, half.__name__ = of.__module__, of.__name__
        return whole(self, half if name == stage else of, settings, name, *rest)

    monkeypatch.setattr(Workspace, "_run", killed)
    with pytest.raises(Killed):
        run(config)
    before = finished(folder(config))
    assert list(before) == [] or stage not in before
    assert set(before) == set(STAGES[: STAGES.index(stage)])
    monkeypatch.setattr(Workspace, "_run", whole)
    assert run(config) == 0
    after = finished(folder(config))
    assert {name: after[name] for name in before} == before
    assert outcome(folder(config)) == outcome(uninterrupted(config, engines))


def test_a_kill_at_any_order_ends_in_the_same_result(config: Path, engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = outcome(uninterrupted(config, engines))
    orders = len(engines[-1].performed)
    trained = engines[-1].performed.count("Train")
    assert orders > 10
    for at in range(orders):
        name = f"killed-{at}"
        monkeypatch.setattr(FakeEngine, "kill_at", at)
        with pytest.raises(Killed):
            run(config, "--name", name)
        first = engines[-1].performed
        monkeypatch.setattr(FakeEngine, "kill_at", None)
        assert run(config, "--name", name) == 0
        assert outcome(folder(config).with_name(name)) == expected, f"killed at order {at}"
        again = first.count("Train") + engines[-1].performed.count("Train") - trained
        assert 0 <= again <= 1 + STUDENT_ORDERS, f"killed at order {at}: {again} trainings were run again"


STUDENT_ORDERS = 8
"""The student's training is given again in orders of a validation interval; with a real gang it goes on from its checkpoint."""


def uninterrupted(config: Path, engines: list[FakeEngine]) -> Path:
    assert run(config, "--name", "whole") == 0
    assert engines
    return folder(config).with_name("whole")


def test_a_failed_gate_exits_3_with_the_report(config: Path, engines: list[FakeEngine], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(config, "--set", "report.gates=[{metric: accuracy, min: 1.01}]") == 3
    out, err = capfd.readouterr()
    assert out.strip() == str(folder(config))
    assert "a gate was not met" in err
    assert "1.01" in err
    assert (folder(config) / "report" / "index.html").exists()
    assert engines


def test_a_failing_stage_exits_4_and_names_its_log(
    config: Path, engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(self: FakeEngine, order: Any) -> Any:
        print("chatter of a library")
        raise ZeroDivisionError("no rows per second")

    monkeypatch.setattr(FakeEngine, "perform", broken)
    assert run(config) == 4
    out, err = capfd.readouterr()
    assert out == ""
    assert "ZeroDivisionError: no rows per second" in err
    assert "Traceback" not in err
    assert "chatter" not in err
    log = folder(config) / "logs" / "driver.log"
    assert str(log) in err
    assert "Traceback" in log.read_text()
    assert "chatter of a library" in log.read_text()
    assert engines


def test_an_interrupt_exits_130_and_says_how_to_go_on(
    config: Path, engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    closed: list[bool] = []

    def interrupted(self: FakeEngine, order: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FakeEngine, "perform", interrupted)
        patch.setattr(FakeEngine, "close", lambda self: closed.append(True))
        assert run(config) == 130
    assert closed == [True]
    assert f"heliostat run {config}" in capfd.readouterr().err
    assert run(config) == 0
    assert engines


def test_a_sweep_over_the_corpus_trains_on_each_and_judges_on_one(
    config: Path, engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    orders: list[Any] = []
    whole = FakeEngine.do_train
    monkeypatch.setattr(FakeEngine, "do_train", lambda self, order: [orders.append(order), whole(self, order)][1])
    space = "tune.space={corpus.filters.1.max_characters: {choice: [75, 100000]}, train.optimizer.lr: {log_uniform: [1.0e-4, 1.0e-2]}}"
    options = ("--set", space, "--set", "distil=null", "--set", "tune.trials=6")
    assert run(config, *options) == 0
    root = folder(config)
    corpora = sorted(path.name for path in root.glob("corpus-*"))
    assert len(corpora) == 2
    outputs = {name: json.loads((root / name / "manifest.json").read_text())["output"] for name in ("corpus", *corpora)}
    assert len({(out["rows"]["valid"], out["rows"]["test"]) for out in outputs.values()}) == 1
    trials = json.loads((root / "tune" / "manifest.json").read_text())["output"]["trials"]
    train_of = {trial["number"]: trial["settings"]["corpus.filters.1.max_characters"] for trial in trials}
    found = {(train_of[int(o.folder.name.split("-")[-1])], rows_in(o.train_rows)) for o in orders}
    assert found == {(75, min(outputs[name]["rows"]["train"] for name in corpora)), (100000, outputs["corpus"]["rows"]["train"])}
    assert len({o.valid_rows for o in orders}) == 1, "every trial is judged on the same rows"
    times = finished(root)
    capfd.readouterr()
    assert run(config, *options) == 0
    assert finished(root) == times
    assert engines[1].performed == []
    assert capfd.readouterr().err.count("kept") == len(STAGES) - 1 + len(corpora)
