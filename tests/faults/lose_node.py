"""A sweep on two nodes, one of which goes away and comes back. Run by test_node_loss.py in a process of its own."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from faults.nodes import tell
from heliostat.commands.tiny import write_project
from heliostat.config import read_config
from heliostat.core.layout import Layout
from heliostat.core.ledger import replay
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context, Workspace
from heliostat.corpus.stage import build
from heliostat.engine import trials
from heliostat.engine.driver import Engine
from heliostat.tune.stage import sweep

trials.LOOK_EVERY_S = 1.0


def disturbed(cluster: Cluster, folder: Path) -> dict[str, Any]:
    """What became of the sweep."""
    second = cluster.add_node(num_cpus=1)
    tune = {"trials": 30, "scheduler": {"use": "asha", "eta": 2, "first": 0.25}, "finalists": 1}
    train = {"epochs": 8, "batch": 4, "optimizer": {"use": "adamw", "lr": 3e-3}, "validate_every": 4}
    config = read_config(write_project(folder / "project", rows=200, tune=tune, train=train))
    ledger = folder / "tune" / "ledger.jsonl"
    seen: list[int] = []

    def results() -> int:
        return sum(e["event"] == "result" for e in replay(ledger)[0]) if ledger.exists() else 0

    with Engine(Layout(address=cluster.address), folder, side_by_side=2) as engine:
        corpus = Workspace(folder, 7, engine=engine).do(build, config.corpus, task=config.task)
        ctx = Context(folder / "tune", "lost", 7, engine.layout, engine, Progress(), "tune")
        given = {"train": config.train, "model": config.model, "corpus": corpus, "task": config.task}
        done: list[Any] = []
        working = threading.Thread(target=lambda: done.append(sweep(config.tune, ctx=ctx, **given)), daemon=True)
        working.start()  # nodes come and go in the main thread, where Ray sets its signal handlers

        def wait(condition: Callable[[], bool]) -> None:
            while not condition():
                assert working.is_alive(), "the sweep ended before it was disturbed"
                time.sleep(0.1)

        wait(lambda: results() >= 3)
        seen.append(len(engine.gangs))
        cluster.remove_node(second)
        before = results()
        wait(lambda: results() >= before + 3 and len(engine.gangs) == 1)
        seen.append(len(engine.gangs))
        cluster.add_node(num_cpus=1)
        wait(lambda: len(engine.gangs) == 2)
        seen.append(len(engine.gangs))
        working.join()
    jobs = Counter((e["trial"], e["rung"]) for e in replay(ledger)[0] if e["event"] == "result")
    return {"states": Counter(t.state for t in done[0].trials), "most": max(jobs.values()), "gangs": seen}


if __name__ == "__main__":
    tell(disturbed, cpus=2)
