"""A node goes away in the middle of a sweep and another comes: the sweep ends, and no finished job is run again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_a_sweep_loses_a_node_and_grows_again(tmp_path):
    script = Path(__file__).with_name("lose_node.py")
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert sum(told["states"].values()) == 30
    assert told["states"].get("failed", 0) == 0
    assert told["most"] == 1, "a finished job was run again"
    assert told["gangs"] == [2, 1, 2]
