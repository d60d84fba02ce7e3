"""One elastic training on three nodes: two go away, and come again. Run by test_node_loss.py in a process of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from faults.nodes import tell
from heliostat.commands.tiny import write_project
from heliostat.config import read_config
from heliostat.core.layout import Layout
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context, Workspace
from heliostat.corpus.stage import build
from heliostat.engine.driver import Engine, source_of
from heliostat.train.stage import train_fully, training

LIMIT_S = 120.0


def disturbed(cluster: Cluster, folder: Path) -> dict[str, Any]:
    """What became of the training."""
    others = [cluster.add_node(num_cpus=1) for _ in range(2)]
    hurry = folder / "hurry"
    objective = {"use": "faults.on_purpose", "pause_s": 0.05, "hurry": str(hurry)}  # it lasts until all that is to happen has happened
    train = {"epochs": 45, "batch": 4, "optimizer": {"use": "adamw", "lr": 1e-3}, "validate_every": 1, "objective": objective}
    config = read_config(write_project(folder / "project", rows=200, train=train))
    step = [0]
    with Engine(Layout(address=cluster.address, workers=2, least_workers=1), folder) as engine:
        corpus = Workspace(folder, 7, engine=engine).do(build, config.corpus, task=config.task)
        ctx = Context(folder / "train", "lost", 7, engine.layout, engine, Progress(), "train")
        fields = training(config.train, ctx=ctx, source=source_of(config.model), corpus=corpus, task=config.task)
        engine.listeners.append(lambda event: step.__setitem__(0, event.get("step", step[0])))
        done: list[Any] = []
        working = threading.Thread(target=lambda: done.append(train_fully(fields, ctx)), daemon=True)
        working.start()  # nodes come and go in the main thread, where Ray sets its signal handlers

        def nodes() -> list[str]:
            """Where the workers are; empty while a gang is not up."""
            try:
                workers = ray.get(engine.gangs[0].mailbox.workers.remote(), timeout=5)
            except (IndexError, AttributeError, ray.exceptions.RayError):
                return []
            return [workers[rank]["node"] for rank in sorted(workers)]

        def wait(condition: Callable[[], bool]) -> None:
            until = time.monotonic() + LIMIT_S
            while not condition():
                assert working.is_alive(), "the training ended before it was disturbed"
                assert time.monotonic() < until, f"{len(nodes())} workers at step {step[0]}"
                time.sleep(0.2)

        wait(lambda: len(nodes()) == 2 and step[0] > 0)
        gang = engine.gangs[0].name
        for node in others:  # Ray chooses where the workers stand: on one of these at least, and what is left has room for one
            cluster.remove_node(node)
        wait(lambda: len(nodes()) == 1)
        before = step[0]
        wait(lambda: step[0] > before + 50)
        cluster.add_node(num_cpus=1)
        cluster.add_node(num_cpus=1)
        wait(lambda: len(nodes()) == 2)
        hurry.touch()
        working.join()
        gangs = [gang, engine.gangs[0].name]
    return {
        "gangs": gangs,
        "step": done[0]["step"],
        "total": fields["total"],
        "curve": [point["step"] for point in done[0]["curve"]],
    }


if __name__ == "__main__":
    tell(disturbed, cpus=1)
