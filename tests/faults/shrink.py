"""A training of one or two workers loses a node and gets another. Run by test_elastic.py in a process of its own."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from heliostat.commands.tiny import write_project
from heliostat.config import read_config
from heliostat.core.layout import Layout
from heliostat.core.manifest import read_json
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context, Workspace
from heliostat.corpus.stage import build
from heliostat.engine.driver import Engine
from heliostat.train.stage import fit

os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "10"  # Ray may still count on the node that is gone when it first tries


class Told(Progress):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def main(folder: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    objective = {"use": "faults.on_purpose", "pause_s": 0.05}
    train = {"epochs": 30, "batch": 8, "optimizer": {"use": "adamw", "lr": 3e-3}, "validate_every": 2, "objective": objective}
    config = read_config(write_project(folder / "project", rows=150, train=train))
    widths, show = [], Told()

    with Engine(Layout(address=cluster.address, workers=2, least_workers=1), folder, show=show) as engine:
        corpus = Workspace(folder, 7, engine=engine).do(build, config.corpus, task=config.task)
        ctx = Context(folder / "train", "shrunk", 7, engine.layout, engine, Progress(), "train")
        done: list[Any] = []
        given = {"ctx": ctx, "model": config.model, "corpus": corpus, "task": config.task}
        working = threading.Thread(target=lambda: done.append(fit(config.train, **given)))
        working.start()  # nodes come and go in the main thread, where Ray sets its signal handlers

        def width() -> int:
            import ray

            return ray.get(engine.gangs[0].mailbox.workers.remote())[0]["world"]

        def result() -> int:
            return (read_json(folder / "train/train/result.json") or {"step": 0})["step"]

        def wait(condition: Callable[[], bool]) -> None:
            while not condition():
                assert working.is_alive(), f"the training ended before it was disturbed: {show.messages}"
                time.sleep(0.1)

        wait(lambda: result() > 0)
        widths.append(width())
        cluster.remove_node(second)
        wait(lambda: width() == 1)
        before = result()
        wait(lambda: result() > before)
        widths.append(width())
        cluster.add_node(num_cpus=1)
        wait(lambda: width() == 2)
        widths.append(width())
        working.join()
        gangs = engine._named
    cluster.shutdown()
    print(json.dumps({"widths": widths, "gangs": gangs, "score": done[0].score, "messages": show.messages}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
