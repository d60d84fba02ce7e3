"""What Ray and torch say about this machine and a cluster, for `heliostat doctor`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

REACH_S = 40
REACH = """
import json, sys, ray
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
nodes = [n for n in ray.nodes() if n["Alive"]]
print(json.dumps({"ray": ray.__version__, "nodes": len(nodes), "resources": ray.cluster_resources()}))
"""


def devices() -> dict[str, Any]:
    """CPU threads and GPUs as torch sees them."""
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"threads": torch.get_num_threads(), "gpus": names, "cuda": torch.version.cuda}


def token_file() -> tuple[str, bool] | None:
    """Ray's token file and whether others may read it; None when there is none."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if not path.exists():
        return None
    return str(path), bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def reach(address: str) -> dict[str, Any] | str:
    """Version, nodes and resources of the cluster at `address`, or why it cannot be joined. Asked in a process of its own."""
    try:
        asked = subprocess.run([sys.executable, "-c", REACH, address], capture_output=True, text=True, timeout=REACH_S, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer within {REACH_S} s"
    if asked.returncode == 0:
        return dict(json.loads(asked.stdout.strip().splitlines()[-1]))
    return (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
