"""SIGTERM to the driver: the training saves in the middle of what it does, and the same command goes on from there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from heliostat.commands.tiny import write_project
from heliostat.core.manifest import read_json
from heliostat.engine import checkpoints

pytestmark = pytest.mark.slow


def start(config: Path, storage: Path) -> subprocess.Popen:
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "heliostat", "run", str(config), "--storage", str(storage)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def finish(config: Path, storage: Path) -> Path:
    process = start(config, storage)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return storage / "tiny" / "train" / "train"


def steps(training: Path) -> list[int]:
    return [checkpoints.facts(p)["step"] for p in (training / "latest").glob("step-*") if checkpoints.is_valid(p)]


def project(folder: Path) -> tuple[Path, Path]:
    """(the config of a slow training with one order, where it leaves a mark when it is on its way)."""
    marks = folder / "marks"
    marks.mkdir(parents=True)
    objective = {"use": "faults.on_purpose", "pause_s": 0.05, "fault": "slow", "after": 30, "marks": str(marks), "times": 1}
    train = {"epochs": 10, "batch": 8, "optimizer": {"use": "adamw", "lr": 3e-3}, "validate_every": 10.0, "objective": objective}
    return write_project(folder / "project", train=train), marks


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same training, left alone."""
    folder = tmp_path_factory.mktemp("whole")
    return finish(project(folder)[0], folder / "runs")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_run_saves_says_how_to_go_on_and_does(number, code, whole, tmp_path):
    config, marks = project(tmp_path)
    process = start(config, tmp_path / "stopped")
    while not any(marks.iterdir()):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert f"heliostat run {config}" in err
    training = tmp_path / "stopped" / "tiny" / "train" / "train"
    (step,) = steps(training)
    assert step > 0
    assert not (training / "result.json").exists(), "the only order was not over"
    finish(config, tmp_path / "stopped")
    one, other = (read_json(folder / "result.json") for folder in (training, whole))
    assert one["curve"] == other["curve"]
    weights, same = (checkpoints.weights(checkpoints.latest(folder / "best")) for folder in (training, whole))
    assert all(np.array_equal(weights[name].numpy(), same[name].numpy()) for name in same)
