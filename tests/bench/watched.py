"""Train on so many rows and tell the largest memory of the process tree: `python watched.py FOLDER ROWS`, after `... make`."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import psutil

from heliostat.commands.tiny import write_project
from heliostat.config import read_config
from heliostat.core.layout import Layout
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context, Workspace
from heliostat.corpus.stage import build
from heliostat.engine.driver import Engine, source_of
from heliostat.train.stage import train_fully, training

STEPS = 150


class Watch(threading.Thread):
    """The largest sum of proportional set sizes of this process and all below it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.over = 0, threading.Event()

    def run(self) -> None:
        me = psutil.Process()
        while not self.over.wait(0.5):
            total = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total)


def main(folder: Path, rows: int, only_make: bool) -> None:
    """Make the corpus, in a process of its own; in the next one it is there, and the training is watched."""
    config = read_config(write_project(folder / "project", rows=rows, train={"epochs": 1, "batch": 16, "validate_every": 1000}))
    with Engine(Layout(), folder) as engine:
        corpus = Workspace(folder, 7, engine=engine).do(build, config.corpus, task=config.task)
    if only_make:
        return
    with Engine(Layout(), folder) as engine:
        ctx = Context(folder / "train", "train", 7, engine.layout, engine, Progress(), "train")
        fields = training(config.train, ctx=ctx, source=source_of(config.model), corpus=corpus, task=config.task)
        watch = Watch()
        watch.start()
        train_fully(fields | {"total": min(STEPS, fields["total"])}, ctx)
        watch.over.set()
        watch.join()
    print(json.dumps({"rows": corpus.rows["train"], "peak_bytes": watch.peak}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] == ["make"])
