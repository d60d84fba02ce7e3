"""Optuna behind a proposer: dimensions as its distributions, trials as those of a study that is a view of what was told.

Its samplers are asked through their public methods. Each suggestion takes a fresh one, seeded by the sweep, so that nothing is
remembered but the trials; `Trials` is replaced one trial at a time and never copied. Larger is better.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from heliostat.tune.space import Dimension, Space

NO_TIME = datetime(2000, 1, 1)
"""A finished trial must have one, and nothing looks at it."""


def distribution(dimension: Dimension) -> BaseDistribution:
    """A choice is its place in the list, as Optuna's choices cannot be mappings; steps are counted, to stay clear of rounding."""
    if dimension.kind == "choice":
        return CategoricalDistribution(tuple(range(len(dimension.choices))))
    if dimension.step is not None:
        return IntDistribution(0, dimension.steps)
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.kind == "log_int")
    return FloatDistribution(dimension.low, dimension.high, log=dimension.kind == "log_uniform")


def inward(dimension: Dimension, value: Any) -> Any:
    """A value as its distribution has it."""
    if dimension.kind == "choice":
        return dimension.index(value)
    if dimension.step is not None:
        return round((value - dimension.low) / dimension.step)
    return int(value) if dimension.whole else float(value)


def outward(dimension: Dimension, value: Any) -> Any:
    """A value as its dimension has it."""
    if dimension.kind == "choice":
        return dimension.choices[value]
    return dimension.nearest(value if dimension.step is None else dimension.low + value * dimension.step)


class Translation:
    """A space and its distributions."""

    def __init__(self, space: Space):
        self.space = space
        self.distributions = {path: distribution(dimension) for path, dimension in space.dimensions.items()}

    def trial(self, number: int, state: TrialState, settings: dict[str, Any], value: float | None = None, rung: int = 0) -> FrozenTrial:
        """Optuna's record of a trial; a pruned one has its value at `rung`, or none."""
        complete, pruned = state == TrialState.COMPLETE, state == TrialState.PRUNED
        return FrozenTrial(
            number=number,
            state=state,
            value=value if complete else None,
            datetime_start=NO_TIME,
            datetime_complete=NO_TIME if complete or pruned else None,
            params={path: inward(self.space.dimensions[path], v) for path, v in settings.items()},
            distributions={path: self.distributions[path] for path in settings},
            user_attrs={},
            system_attrs={},
            intermediate_values={rung: value} if pruned and value is not None else {},
            trial_id=number,
        )

    def draw(
        self, make: Callable[..., BaseSampler], trials: Iterable[FrozenTrial], number: int, rng: np.random.Generator, joint: bool = True
    ) -> dict[str, Any]:
        """Settings, group by group, parents first."""
        ask, group, settings = self.ask(make, trials, number, rng), groups(self.space, joint), dict[str, Any]()
        for path in self.space.dimensions:
            if path not in settings and self.space.exists(path, settings):
                settings |= ask(group[path])
        return {path: settings[path] for path in self.space.dimensions if path in settings}

    def ask(
        self, make: Callable[..., BaseSampler], trials: Iterable[FrozenTrial], number: int, rng: np.random.Generator
    ) -> Callable[[list[str]], dict[str, Any]]:
        """A function that gives values for paths that exist together, each call with more draws of the same sampler."""
        with quiet():
            sampler = make(seed=int(rng.integers(2**32)))
        study = Study("sweep", _View(trials), sampler, NopPruner())
        asked = FrozenTrial(number, TrialState.RUNNING, None, NO_TIME, None, {}, {}, {}, {}, {}, number)

        def values(paths: list[str]) -> dict[str, Any]:
            distributions = {path: self.distributions[path] for path in paths if not self.distributions[path].single()}
            with quiet():
                drawn = sampler.sample_relative(study, asked, distributions) if distributions else {}
            return {path: outward(self.space.dimensions[path], drawn.get(path, 0)) for path in paths}

        return values


def groups(space: Space, joint: bool) -> dict[str, list[str]]:
    """Path to the paths that are drawn together with it: those that exist under the same conditions."""
    if not joint:
        return {path: [path] for path in space.dimensions}
    return {
        path: [other for other, theirs in space.dimensions.items() if theirs.when == dimension.when]
        for path, dimension in space.dimensions.items()
    }


class _View(InMemoryStorage):
    """What Optuna's samplers ask a storage, answered from trials that others keep; nothing is stored."""

    def __init__(self, trials: Iterable[FrozenTrial]):
        super().__init__()
        self._trials = trials

    def get_study_id_from_name(self, study_name: str) -> int:
        return 0

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return [StudyDirection.MAXIMIZE]

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        return [trial for trial in self._trials if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Samplers leave notes for other processes here; there are none."""


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna calls options experimental that have been there for years, and logs which packages would make it faster."""
    logger = logging.getLogger("optuna")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
