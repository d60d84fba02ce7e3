"""Ray Tune's own schedulers, asked through their own interface (`ray.tune.schedulers.TrialScheduler`); Ray does not run for it.

Ray's scheduler sees trials, their results and a controller. `RayCourse` is all of that: its answers CONTINUE, PAUSE, STOP and
NOOP, and the trial that it chooses to run, become jobs. A trial without a number is an error to Ray's scheduler, so it never
sees NaN, which most of them would let train on.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from pydantic import Field

from heliostat.core import seeds
from heliostat.tune.schedulers.base import Course, Job, Reproducible, Result

TIME, VALUE = "training_iteration", "value"
RULES = {"time_attr": TIME, "metric": VALUE, "mode": "max"}
"""What each of Ray's schedulers is told about results."""


class Iterated(Reproducible):
    """A scheduler that counts a full training in iterations, as Ray does."""

    iterations: int = Field(9, ge=1, le=1000)
    """A full training is so many iterations; a trial is validated, and may be paused, at the end of each."""

    def rungs(self) -> tuple[float, ...]:
        return tuple(iteration / self.iterations for iteration in range(1, self.iterations + 1))


def geometric(first: int, factor: int, last: int) -> list[int]:
    """`first`, and each time `factor` times as many, up to `last`, which is always there."""
    found = []
    while first < last:
        found.append(first)
        first *= factor
    return [*found, last]


class RayCourse(Course):
    """A sweep whose decisions one of Ray's schedulers takes.

    A trial gets its number when it starts, so that trials start in the order of their numbers whatever Ray's scheduler chooses.
    """

    def __init__(self, stock: Any, trials: int, iterations: Sequence[int], seed: int, *, ahead: int = 1):
        """`iterations` are those at each rung; `ahead` is how many trials Ray's scheduler knows of before they start."""
        logging.getLogger("ray.tune.schedulers").setLevel(logging.WARNING)  # what it decides is in the ledger
        self.stock, self.iterations, self.seed = stock, list(iterations), seed
        self.controller: Any = Controller(self)
        self.live: dict[str, Any] = {}
        """Ray's id of a trial that is not over to the trial, in the order in which they were made."""
        self.started: list[Any] = []
        """Number to trial; None for one that is over."""
        self.rung: list[int] = []
        """Number to the rung of its last job."""
        self._numbers: dict[str, int] = {}
        self._unmade, self._made, self._calls = trials, 0, 0
        self._going: deque[int] = deque()
        self._make(ahead)

    @property
    def over(self) -> bool:
        """Whether every trial is over."""
        return not self.live

    def see(self, result: Result) -> None:
        trial = self.started[result.trial]
        with self._drawing():
            if result.value is None:
                self._fail(trial)
            else:
                self._judge(trial, result)

    def next(self) -> Job | None:
        if self._going:
            return self._job(self._going.popleft())
        trial = self.stock.choose_trial_to_run(self.controller)
        if trial is None:
            return None
        trial.set_status(trial.RUNNING)
        if trial.trial_id not in self._numbers:
            self._numbers[trial.trial_id] = len(self.started)
            self.started.append(trial)
            self.rung.append(-1)
            self._make(1)
        return self._job(self.number(trial))

    def _job(self, number: int) -> Job:
        self.rung[number] += 1
        return Job(number, self.rung[number])

    def number(self, trial: Any) -> int:
        """The number of a trial that has started and is not over."""
        return self._numbers[trial.trial_id]

    def _judge(self, trial: Any, result: Result) -> None:
        """Ray's scheduler looks at a result."""
        trial.run_metadata.last_result = told = {TIME: self.iterations[result.rung], VALUE: result.value}
        if result.rung == len(self.iterations) - 1:
            self.controller.stop_trial(trial)
            return
        answer = self.stock.on_trial_result(self.controller, trial, told)
        if answer == self.stock.STOP:
            self.controller.stop_trial(trial)
        elif answer == self.stock.PAUSE:
            self.controller.pause_trial(trial)
        elif answer == self.stock.CONTINUE:
            self._going.append(result.trial)

    def _fail(self, trial: Any) -> None:
        self.stock.on_trial_error(self.controller, trial)
        self.ended(trial, trial.ERROR)

    def ended(self, trial: Any, status: str) -> None:
        """A trial is over."""
        trial.set_status(status)
        del self.live[trial.trial_id]
        if trial.trial_id in self._numbers:
            self.started[self._numbers.pop(trial.trial_id)] = None

    def _make(self, count: int) -> None:
        """Ray's scheduler hears of `count` more trials, if there are so many."""
        from ray.tune.experiment import Trial

        for _ in range(min(count, self._unmade)):
            trial = Trial("trial", stub=True, trial_id=f"{self._made:06d}", config=self._config(), _setup_default_resource=False)
            self._made, self._unmade = self._made + 1, self._unmade - 1
            self.live[trial.trial_id] = trial
            with self._drawing():
                self.stock.on_trial_add(self.controller, trial)

    def _config(self) -> dict[str, Any]:
        """What Ray's scheduler sees as a trial's settings before it starts."""
        return {}

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Ray draws from the process's random numbers: here they are those of this call, and afterwards nothing has changed."""
        ours, theirs = random.getstate(), np.random.get_state()
        self._calls += 1
        seed = seeds.derive(self.seed, "ray", self._calls)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(ours)
            np.random.set_state(theirs)


class Controller:
    """The part of Ray's TuneController that its schedulers call."""

    search_alg = None

    def __init__(self, course: RayCourse):
        self.course = course

    def get_trials(self) -> list[Any]:
        """Trials that are not over: of the others Ray's schedulers ask nothing."""
        return list(self.course.live.values())

    get_live_trials = get_trials

    def pause_trial(self, trial: Any, should_checkpoint: bool = True) -> None:
        trial.set_status(trial.PAUSED)

    def stop_trial(self, trial: Any) -> None:
        """As TuneController has it: a running trial completes, a waiting one is removed."""
        if trial.status == trial.RUNNING:
            self.course.stock.on_trial_complete(self, trial, trial.last_result)
        else:
            self.course.stock.on_trial_remove(self, trial)
        self.course.ended(trial, trial.TERMINATED)
