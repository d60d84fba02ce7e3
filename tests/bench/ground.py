"""What the sweep benchmarks train: a two-layer random BERT on a table made here, and its corpus, prepared once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliostat.artifacts import Corpus, Sweep
from heliostat.commands.tiny import write_project
from heliostat.config import RunConfig, read_config
from heliostat.core.layout import Layout
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context, Workspace
from heliostat.corpus.stage import build
from heliostat.engine.cluster import leftovers
from heliostat.engine.driver import Engine
from heliostat.tune.stage import sweep

SLOTS = 2


@dataclass(frozen=True)
class Ground:
    """A config, its corpus and a connected engine."""

    folder: Path
    config: RunConfig
    engine: Engine
    corpus: Corpus

    def sweep(self, name: str, **changes: Any) -> Sweep:
        """One whole sweep stage in a folder of its own; `changes` replace settings of `tune`."""
        assert self.config.tune is not None
        tune = type(self.config.tune).model_validate({**self.config.tune.dump(), **changes})
        ctx = Context(self.folder / name, name, 7, self.engine.layout, self.engine, Progress(), "tune")
        config = self.config
        return sweep(tune, ctx=ctx, train=config.train, model=config.model, corpus=self.corpus, task=config.task)

    def let_gangs_go(self) -> list[str]:
        """Close every gang; what is left of them."""
        gangs, self.engine.gangs = self.engine.gangs, []
        for gang in gangs:
            gang.close()
        return left_over()


def left_over(wait_s: float = 10.0) -> list[str]:
    """Placement groups, actors and processes that are still there when those that were killed have had their time to go."""
    until = time.monotonic() + wait_s
    while (left := leftovers()) and time.monotonic() < until:
        time.sleep(0.2)
    return left


@contextmanager
def ground(folder: Path, *, steps: int, trials: int, side_by_side: int = SLOTS) -> Iterator[Ground]:
    """Trials of `steps` updates of 4 rows, validated at the end, each trained in full."""
    tune = {"trials": trials, "scheduler": "full", "finalists": 1}
    train = {"epochs": steps / 53, "batch": 4, "optimizer": {"use": "adamw", "lr": 1e-3}, "validate_every": 1000}
    config = read_config(write_project(folder / "project", rows=300, tune=tune, train=train))
    with Engine(Layout(), folder, side_by_side=side_by_side) as engine:
        corpus = Workspace(folder, 7, engine=engine).do(build, config.corpus, task=config.task)
        yield Ground(folder, config, engine, corpus)
