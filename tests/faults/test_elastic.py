"""A training goes on with the workers that are left when a node goes, and takes in the node that comes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_a_training_comes_back_narrower_and_grows_again(tmp_path):
    script = Path(__file__).with_name("shrink.py")
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(script.parents[1]), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=400, check=False, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["widths"] == [2, 1, 2]
    assert told["gangs"] == 1, "the gang was replaced instead of coming back"
    assert any("workers died" in text for text in told["messages"])
    assert any("a node has come" in text for text in told["messages"])
