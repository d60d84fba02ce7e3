"""Whole runs on a GPU, as a user starts them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from heliostat.commands.tiny import write_project

pytestmark = pytest.mark.slow


def heliostat(*arguments):
    return subprocess.run([sys.executable, "-m", "heliostat", *arguments], capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def half_a_gpu(tmp_path):
    """A layout with two trainings on one GPU."""
    place = tmp_path / "half"
    place.mkdir()
    layout = {"workers": 1, "cpus_per_worker": 1, "gpus_per_worker": 0.5, "local_cpus": 4, "storage": str(tmp_path / "runs")}
    (place / "layout.yaml").write_text(yaml.safe_dump(layout))
    return place


def test_a_sweep_of_two_trials_on_each_gpu_and_all_that_follows(half_a_gpu, tmp_path):
    train = {"epochs": 2, "batch": 8, "optimizer": {"use": "adamw", "lr": 1e-2}, "validate_every": 0.5, "precision": "bf16"}
    rest = {
        "tune": {"trials": 6, "space": {"train.optimizer.lr": {"log_uniform": [1e-3, 3e-2]}}, "finalists": 2},
        "ensemble": {"candidates": 2},
        "distil": {"layers": 1, "train": {**train, "objective": {"use": "distillation"}}},
    }
    config = write_project(tmp_path / "project", train=train, **rest)
    done = heliostat("run", str(config), "--cluster", str(half_a_gpu))
    assert done.returncode == 0, done.stderr
    run = next((tmp_path / "runs").iterdir())
    assert (run / "report/index.html").exists(), done.stderr
    assert len({gang.name for gang in (run / "logs").glob("*rank-0.log")}) >= 2, "two trials share the GPU"


def test_doctor_names_the_gpu():
    done = heliostat("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "GPU: NVIDIA" in done.stdout + done.stderr
