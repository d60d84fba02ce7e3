"""Weights & Biases: a W&B run for each training, in the group of the run, through W&B's own client.

Ids are made from the run and the training, so a training that goes on in another process goes on in W&B too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from heliostat.core.errors import UserError
from heliostat.core.manifest import fingerprint
from heliostat.trackers.base import Base, Outcome, Point, Reached, Record, Run, State, Training

RESULT = "report"
OPEN = 32
"""W&B runs that are kept open; of more, the one that had no point for longest is closed, and resumed when it has one."""


class Wandb(Base):
    """Weights & Biases: a W&B run for each training, in the run's group; test scores in a run of their own."""

    package: ClassVar[str] = "wandb"
    install: ClassVar[str] = "heliostat[wandb]"

    project: str = Field("heliostat", min_length=1)
    """W&B's project."""
    entity: str | None = None
    """User or team it belongs to; None is W&B's default for the key."""
    mode: Literal["online", "offline"] = "online"
    """offline writes to <run>/wandb, for `wandb sync`. The key for online is read by W&B from WANDB_API_KEY, or was stored by
    `wandb login`."""
    tags: list[str] = []
    """Tags of every W&B run."""

    def open(self, run: Run) -> Record:
        import wandb

        if self.mode == "online" and not wandb.login(prompt=False):
            raise UserError("W&B has no key. Set WANDB_API_KEY, run `wandb login` once, or set mode: offline")
        return Runs(self, run)


class Runs(Record):
    """The W&B runs of one run."""

    def __init__(self, options: Wandb, run: Run):
        self.options, self.run = options, run
        self._open: dict[str, Any] = {}
        """Training to its W&B run; the one that was used last is last."""
        self._trainings: dict[str, Training] = {}
        """Those without an end."""

    def begin(self, training: Training) -> Reached:
        self._trainings[training.key] = training
        before = self._at(training).starting_step - 1  # W&B says where the next point goes
        return Reached(max(0, before), max(0, before))

    def _at(self, training: Training) -> Any:
        """The W&B run of a training, open."""
        found = self._open.pop(training.key, None)
        if found is None:
            while len(self._open) >= OPEN:
                self._open.pop(next(iter(self._open))).finish()
            found = self._start(training.key, training.name, training.stage, training.parameters())
        self._open[training.key] = found
        return found

    def _start(self, key: str, name: str, job_type: str, config: dict[str, Any]) -> Any:
        import wandb

        options, run = self.options, self.run
        quiet = wandb.Settings(
            console="off", silent=True, x_disable_stats=True
        )  # the terminal, and what the driver uses, are not the training's
        return wandb.init(
            project=options.project,
            entity=options.entity,
            dir=str(run.folder),
            id=fingerprint([run.id, key]),
            name=f"{run.name}/{name}",
            group=run.name,
            job_type=job_type,
            tags=options.tags,
            config=config,
            allow_val_change=True,
            mode=options.mode,
            resume="allow",
            reinit="create_new",
            settings=quiet,
        )

    def write(self, training: Training, points: Sequence[Point]) -> None:
        at = self._at(training)
        for point in points:
            at.log(dict(point.values), step=point.step)

    def end(self, training: Training, *, failed: bool) -> None:
        self._trainings.pop(training.key, None)
        self._at(training).finish(exit_code=int(failed))
        self._open.pop(training.key)

    def finish(self, outcome: Outcome) -> None:
        at = self._start(RESULT, RESULT, RESULT, dict(self.run.config))
        scores = {f"test/{model}/{name}": value for model, own in outcome.scores.items() for name, value in own.items()}
        gates = {f"gate/{name}": held for name, held in outcome.gates.items()}
        at.summary.update({"ship": outcome.ship, "because": outcome.because, "passed": outcome.passed, **scores, **gates})
        at.finish()

    def close(self, state: State) -> None:
        for key, at in self._open.items():
            at.finish(exit_code=int(state != "finished" and key in self._trainings))
