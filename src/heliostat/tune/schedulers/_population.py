"""Populations: trials that never stop, and now and then go on from a better one's state with settings of their own.

Ray's scheduler says who copies whom. With the state a copy takes all settings that make it what it is; only those that may change
while a training runs are new.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from heliostat.core import seeds
from heliostat.tune.schedulers._ray import Controller, Iterated, RayCourse
from heliostat.tune.schedulers.base import Base, Course, Job, Result
from heliostat.tune.space import Dimension, Space

CHANGEABLE = ("train.optimizer.", "train.schedule.", "train.objective.", "train.clip", "train.dropout", "train.adapter.dropout")
"""Beginnings of the paths whose values may change while a training runs; a `use` may not."""
DRAWS = 20
"""Times new settings are drawn until the constraints hold; then the copied trial's are kept."""


def changeable(path: str) -> bool:
    """Whether the value at `path` may change while a training runs."""
    return path.startswith(CHANGEABLE) and not path.endswith(".use")


class Climb(Iterated):
    """Every trial climbs every rung: a population in which nobody copies."""

    def open(self, trials: int, space: Space, seed: int) -> Course:
        return _Climbing(trials, self.iterations)


@dataclass
class _Climbing(Course):
    trials: int
    iterations: int
    started: int = 0
    ready: deque[Job] = field(default_factory=deque)

    def see(self, result: Result) -> None:
        if result.value is not None and result.rung + 1 < self.iterations:
            self.ready.append(Job(result.trial, result.rung + 1))

    def next(self) -> Job | None:
        if self.started < self.trials:
            self.started += 1
            return Job(self.started - 1, 0)
        return self.ready.popleft() if self.ready else None


class Population(Iterated):
    """A scheduler under which every trial is trained to the end."""

    exploits: ClassVar[bool] = True
    most: ClassVar[int]
    """Trials that one population may have."""

    interval: int = Field(1, ge=1)
    """After so many iterations all trials wait for each other and are compared."""
    quantile_fraction: float = Field(0.25, gt=0, le=0.5)
    """The worst trials, so large a share of them, copy one of as many best ones."""

    def outline(self) -> Base:
        return Climb(iterations=self.iterations, decision_lag=self.decision_lag)

    def problems(self, trials: int, space: Space) -> list[str]:
        found = []
        if not 2 <= trials <= self.most:
            found.append(f"all trials are one population of 2 to {self.most:,}, and trials is {trials:,}. Use another number, or asha.")
        if not any(map(changeable, space.dimensions)):
            paths = ", ".join(path.rstrip(".") for path in CHANGEABLE)
            found.append(f"nothing that is searched can change while a training runs. Search a value at or below one of: {paths}.")
        return found


@dataclass(frozen=True)
class State:
    """What Ray's scheduler keeps as a trial's checkpoint."""

    number: int


class PopulationCourse(RayCourse):
    """What `stock` has copied becomes a job with a parent. `explore(settings, rng)` gives the settings of the copy.

    Ray's scheduler works in step (`synch`): all trials wait for each other at a rung, and are compared there. Out of step a trial is
    compared with others that have trained less, and one that is worse than all of them does not show.
    """

    def __init__(self, stock: Any, trials: int, iterations: int, seed: int, explore: Callable[[dict[str, Any], np.random.Generator], Any]):
        self.explore = explore
        self.settings: list[dict[str, Any]] = []
        """Number to the settings of its last job."""
        self._copies: dict[int, tuple[int, dict[str, Any]]] = {}
        """Number to its parent and its new settings, until its next job."""
        super().__init__(stock, trials, range(1, iterations + 1), seed, ahead=trials)
        self.controller = _Saving(self)

    def begun(self, trial: int, settings: dict[str, Any]) -> None:
        self.settings[trial : trial + 1] = [settings]
        self.started[trial].set_config(self._seen_by_ray(settings))

    def _judge(self, trial: Any, result: Result) -> None:
        self.controller.save(trial)
        super()._judge(trial, result)
        self._note_copies()

    def _fail(self, trial: Any) -> None:
        """A trial that failed was the last one that the others waited for: Ray does not notice, and hears one of them again."""
        super()._fail(trial)
        waiting = list(self.live.values())
        stuck = all(one.status == one.PAUSED for one in waiting) and self.stock.choose_trial_to_run(self.controller) is None
        if waiting and stuck:
            self.stock.on_trial_result(self.controller, waiting[0], waiting[0].last_result)
            self._note_copies()

    def _note_copies(self) -> None:
        for trial in self.live.values():
            if trial.checkpoint is not None and trial.checkpoint.number != (number := self.number(trial)):
                parent = trial.checkpoint.number
                rng = seeds.rng(self.seed, "explore", number, self.rung[number])
                self._copies[number] = parent, self._explored(trial, self.settings[parent], rng)
                self.controller.save(trial)

    def _explored(self, trial: Any, copied: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        return self.explore(copied, rng)

    def _job(self, number: int) -> Job:
        job = super()._job(number)
        parent, settings = self._copies.pop(number, (None, None))
        return Job(job.trial, job.rung, parent, settings)

    def _seen_by_ray(self, settings: dict[str, Any]) -> dict[str, Any]:
        return dict(settings)


class _Saving(Controller):
    """Its checkpoints are the numbers of their trials."""

    course: PopulationCourse

    def save(self, trial: Any) -> None:
        from ray.train._internal.session import _TrainingResult

        result = _TrainingResult(checkpoint=State(self.course.number(trial)), metrics=trial.last_result)
        trial.run_metadata.checkpoint_manager._latest_checkpoint_result = result

    def _schedule_trial_save(self, trial: Any, **_: Any) -> State:
        return State(self.course.number(trial))


def relaid(space: Space, copied: Mapping[str, Any], new: Callable[[str, Dimension], Any], rng: np.random.Generator) -> dict[str, Any]:
    """A whole point of `space`: `copied`, with `new` values where they may change; what only exists beside those is drawn."""
    settings: dict[str, Any] = {}
    for path, dimension in space.dimensions.items():
        if not space.exists(path, settings):
            continue
        if path not in copied:
            settings[path] = dimension.at(float(rng.random()))
        else:
            settings[path] = new(path, dimension) if changeable(path) else copied[path]
    return settings
