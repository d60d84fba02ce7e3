"""`kill -9` of the driver, and the same command again: the run ends, nothing finished is done twice, the result is the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from heliostat.commands.tiny import write_project
from heliostat.core.ledger import replay

pytestmark = pytest.mark.slow

CHAIN = {
    "train": {"epochs": 4, "batch": 8, "optimizer": {"use": "adamw", "lr": 3e-3}, "validate_every": 1.0},
    "tune": {
        "trials": 6,
        "space": {"train.optimizer.lr": {"log_uniform": [3e-4, 3e-2]}},
        "scheduler": {"use": "asha", "eta": 2, "first": 0.25},
        "finalists": 3,
    },
    "ensemble": {"candidates": 3},
    "distil": {"layers": 1, "train": {"epochs": 8, "batch": 8, "optimizer": {"use": "adamw", "lr": 3e-3}, "objective": "distillation"}},
}


def start(config: Path, storage: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "heliostat", "run", str(config), "--storage", str(storage)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(config: Path, storage: Path) -> str:
    """Run to the end; what was said on stderr."""
    process = start(config, storage)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert out.strip() == str(storage / "tiny")
    return err


def kill_when(condition, config: Path, storage: Path) -> None:
    """Start a run and SIGKILL its driver as soon as `condition()` holds."""
    process = start(config, storage)
    while not condition():
        assert process.poll() is None, f"the run ended before it could be killed: {process.communicate()[1]}"
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def results(run: Path) -> list[tuple[int, int]]:
    return [(e["trial"], e["rung"]) for e in replay(run / "tune/ledger.jsonl")[0] if e["event"] == "result"]


def told(run: Path) -> dict:
    """What the run found, without what depends on the clock."""
    report = json.loads((run / "report/report.json").read_text())
    sweep = json.loads((run / "tune/manifest.json").read_text())["output"]
    trials = [{k: t[k] for k in ("number", "settings", "state", "rung", "best", "curve")} for t in sweep["trials"]]
    scores = {m["name"]: m["scores"] for m in report["models"]}
    return {"trials": trials, "scores": scores, "finalists": [m["name"] for m in sweep["finalists"]]}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    return write_project(tmp_path_factory.mktemp("project"), **CHAIN)


@pytest.fixture(scope="module")
def uninterrupted(config, tmp_path_factory) -> Path:
    storage = tmp_path_factory.mktemp("uninterrupted")
    finish(config, storage)
    return storage / "tiny"


def test_a_run_killed_in_the_sweep_and_in_the_student_ends_as_if_it_had_not_been(config, uninterrupted, tmp_path):
    run = tmp_path / "tiny"
    kill_when(lambda: (run / "tune").exists() and len(results(run)) >= 4, config, tmp_path)
    before = results(run)
    assert before
    assert not (run / "tune/manifest.json").exists()
    kill_when(lambda: (run / "distil/train/result.json").exists(), config, tmp_path)
    assert results(run)[: len(before)] == before
    swept = (run / "tune/manifest.json").read_text()
    said = finish(config, tmp_path)
    assert (run / "tune/manifest.json").read_text() == swept
    assert "tune: kept" in said
    assert "distil: resume" in said
    assert max(Counter(results(run)).values()) == 1, "a finished rung was run again"
    assert told(run) == told(uninterrupted)


def test_a_second_run_keeps_every_stage(config, uninterrupted):
    manifests = {p: p.read_text() for p in uninterrupted.glob("*/manifest.json")}
    said = finish(config, uninterrupted.parent)
    assert {p: p.read_text() for p in uninterrupted.glob("*/manifest.json")} == manifests
    assert said.count(": kept") == len(manifests) == 7


def test_another_setting_is_refused_and_nothing_is_lost(config, uninterrupted):
    before = sorted(p for p in uninterrupted.rglob("*") if p.is_file())
    command = [sys.executable, "-m", "heliostat", "run", str(config), "--storage", str(uninterrupted.parent), "--set", "tune.trials=7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2
    assert "tune" in done.stderr
    assert "config.trials: 6 -> 7" in done.stderr
    assert "--replace" in done.stderr
    assert sorted(p for p in uninterrupted.rglob("*") if p.is_file()) == before
