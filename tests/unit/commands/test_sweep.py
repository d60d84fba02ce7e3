"""`heliostat sweep`: a finished sweep from its manifest, an unfinished one from its ledger."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from heliostat import cli
from heliostat.commands.sweep import bar, draw, finite
from heliostat.commands.swept import read_sweep
from heliostat.config import RunConfig
from heliostat.core.ledger import Ledger
from heliostat.core.manifest import write_json

SAMPLE = Path(__file__).parents[1] / "report" / "sample.py"
SPACE = {"train.optimizer.lr": {"log_uniform": [1e-6, 1e-2]}, "train.batch": {"choice": [8, 16, 32, 64]}}


@pytest.fixture(scope="module")
def sample() -> ModuleType:
    spec = importlib.util.spec_from_file_location("report_sample", SAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def done(sample: ModuleType, tmp_path: Path) -> Path:
    root = tmp_path / "done"
    output = sample.wide(root, 60).model_dump(mode="json")
    write_json(
        root / "tune" / "manifest.json", {"stage": "tune", "fingerprint": "x", "output": output, "seconds": 1, "finished_unix": 1}, root
    )
    write_json(root / "run.json", {})
    return root


@pytest.fixture
def going(tmp_path: Path) -> Path:
    """Twelve trials of twenty: eight have a result at the first rung, one of them a second, two failed, one runs."""
    root = tmp_path / "going"
    write_run(root, {"trials": 20, "space": SPACE, "scheduler": {"use": "asha", "eta": 3}})
    ledger = Ledger(root / "tune" / "ledger.jsonl")
    for number in range(12):
        settings = {"train.optimizer.lr": 1e-5 * 1.7**number, "train.batch": 8 * 2 ** (number % 4)}
        ledger.append({"event": "job", "trial": number, "rung": 0, "settings": settings})
    for number in range(11):
        ledger.append(result(number, 0, None if number in (4, 9) else 0.6 + number / 100))
    ledger.append({"event": "job", "trial": 10, "rung": 1})
    ledger.append(result(10, 1, 0.9))
    ledger.close()
    return root


def write_run(root: Path, tune: dict[str, Any] | None, **more: Any) -> None:
    corpus = {"sources": [{"use": "csv", "paths": ["."]}]}
    tree = RunConfig.model_validate({"name": root.name, "model": {"path": "."}, "corpus": corpus, "tune": tune}).tree()
    write_json(root / "run.json", {"config": tree, **more})


def result(trial: int, rung: int, value: float | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"event": "result", "trial": trial, "rung": rung, "value": value, "busy_s": 2.0, "wall_s": 30.0 + trial}
    if value is None:
        return facts | {"curve": [], "best": None, "error": "CUDA out of memory", "reason": "error"}
    curve = [{"step": 5, "epoch": 0.5, "value": value, "loss": 0.3}]
    return facts | {"curve": curve, "best": {"step": 5, "value": value}, "error": None}


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(["sweep", *arguments]) == 0
    return capsys.readouterr().out


def test_a_finished_sweep_tells_everything(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = told(capsys, str(done), "--top", "3")
    assert "\x1b" not in out
    for words in (
        "60 trials (",
        "ended by its budget of hours",
        "jobs per rung",
        "train.optimizer.lr",
        "Pareto front: 15 trials",
        "is significantly better than trial",
        "expected and spent",
        "It took less",
        "CUDA out of memory",
        "57 more: --top 60",
    ):
        assert words in out, words
    starred = [line for line in out.splitlines() if line.startswith("★")]
    assert len(starred) == 1
    assert "not finished" not in out


def test_an_unfinished_sweep_is_told_from_its_ledger(going: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = told(capsys, str(going))
    assert "12 of 20 trials (1 running, 9 paused, 2 failed); 40.0 s of wall time" in out
    assert "not finished: running, or interrupted" in out
    assert next(line for line in out.splitlines() if line.startswith("★")).split()[1:4] == ["1", "10", "paused"]
    assert "what decided" not in out, "of so few trials nobody knows"
    assert "4 9" in out


def test_json_is_whole_and_finite(done: Path, going: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(told(capsys, str(done), "--json"), parse_constant=pytest.fail)
    assert found["finished"]
    assert len(found["trials"]) == 60
    assert [t["rank"] for t in found["trials"][:2]] == [1, 2]
    assert found["trials"][0]["curve"][0].keys() == {"step", "epoch", "value", "loss"}
    assert found["best"] == found["confirmation"]["finalists"][0]["trial"]
    assert sum(len(f["trials"]) for f in found["failures"]) == sum(t["state"] == "failed" for t in found["trials"])
    unfinished = json.loads(told(capsys, str(going), "--json"), parse_constant=pytest.fail)
    assert (unfinished["finished"], unfinished["wanted"], unfinished["jobs"][:2]) == (False, 20, [11, 1])
    assert unfinished["trials"][-1]["state"] == "failed"
    assert abs(sum(found["importance"].values()) - 1) < 1e-9
    assert finite({"a": [float("nan"), 1.0], "b": (float("inf"),)}) == {"a": [None, 1.0], "b": [None]}


@pytest.mark.parametrize("width", [40, 64, 80, 120, 200])
def test_nothing_is_wider_than_the_terminal(done: Path, going: Path, width: int, capsys: pytest.CaptureFixture[str]) -> None:
    for root in (done, going):
        draw(Console(width=width, highlight=False), read_sweep(root), 5)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= width


def test_the_mirror_is_named(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "optuna-dashboard" not in told(capsys, str(done))
    (done / "tune" / "optuna.db").write_text("")
    assert f"optuna-dashboard sqlite:///{done}/tune/optuna.db" in told(capsys, str(done))


def test_expected_is_compared_while_it_runs(going: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = {"jobs": [20, 6, 2], "trainings": 8.0, "wall_s": 100.0, "checkpoint_bytes": None, "cost": None}
    write_run(going, {"trials": 20, "space": SPACE, "scheduler": {"use": "asha", "eta": 3}}, expected={"tune": expected})
    out = told(capsys, str(going))
    assert "expected and so far" in out
    assert "43 %" in out  # of the jobs; one at work is none yet


@pytest.mark.parametrize(
    ("case", "words"), [("nowhere", "is not a run"), ("no-tune", "has no section tune"), ("not-begun", "has not begun"), ("top", "--top")]
)
def test_wrong_input_is_told(case: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / case
    if case != "nowhere":
        write_run(root, None if case == "no-tune" else {"trials": 4})
    assert cli.main(["sweep", str(root), *(["--top", "0"] if case == "top" else [])]) == 2
    assert words in capsys.readouterr().err


def test_a_run_without_a_config_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(tmp_path / "run.json", {})
    assert cli.main(["sweep", str(tmp_path)]) == 2
    assert "no sweep" in capsys.readouterr().err


def test_bars_end_at_an_eighth_of_a_column() -> None:
    assert bar(1.0, 4) == "████"
    assert bar(0.5, 3) == "█▌"
    assert bar(0.0, 4) == ""
    assert bar(2.0, 2) == "██"
