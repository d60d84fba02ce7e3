"""Nodes go away and others come: a sweep ends and no finished job is run again, an elastic training goes on narrower and grows again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def told_by(script: str, folder: Path) -> dict:
    """What a script beside this file says last."""
    command = [sys.executable, str(Path(__file__).with_name(script)), str(folder)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_a_sweep_loses_a_node_and_grows_again(tmp_path):
    told = told_by("lose_node.py", tmp_path)
    assert sum(told["states"].values()) == 30
    assert told["states"].get("failed", 0) == 0
    assert told["most"] == 1, "a finished job was run again"
    assert told["gangs"] == [2, 1, 2]


def test_an_elastic_training_loses_a_node_and_grows_again(tmp_path):
    told = told_by("lose_worker.py", tmp_path)
    assert told["gangs"][0] == told["gangs"][1], "its mailbox stood on a worker's node"
    assert told["step"] == told["total"]
    every = told["total"] // 45
    assert told["curve"] == list(range(every, told["total"] + 1, every)), "a validation was lost or came twice"
