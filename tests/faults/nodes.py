"""A cluster whose nodes come and go, for a script that runs in a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster


def tell(disturbed: Callable[[Cluster, Path], dict[str, Any]], *, cpus: int) -> None:
    """Print what `disturbed` tells of a cluster whose head has so many CPUs, in the folder of the command line; then it ends."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus, "include_dashboard": False})
    try:
        told = disturbed(cluster, Path(sys.argv[1]))
    finally:
        cluster.shutdown()
    print(json.dumps(told))
