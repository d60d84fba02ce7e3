"""Bayesian optimisation with a Gaussian process (Jones et al., 1998; log expected improvement of Ament et al., 2023), by Optuna.

The process sees one number per trial. A trial that stopped early counts with its value there plus what those that went on gained,
rung by rung; a failed one counts as the worst, one without a result as the median, so that its place is not tried again
(Ginsbourger et al., 2010). A dimension that does not exist beside others counts as its middle.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean, median
from typing import Any

import numpy as np
from pydantic import Field

from heliostat.tune.samplers.base import Base, Proposer, Told
from heliostat.tune.space import Space

REFUSED = 3
"""Points that the constraints may refuse before a random allowed one is taken."""
RANDOM_DRAWS = 1000
WORST = 4.0
"""A value may lie below the median by so many times the distance from the median to the best: one wreck must not flatten the rest."""


class GaussianProcess(Base):
    """Fewest trials to a good setting when they are dear and dimensions are few; about a second per proposal."""

    startup: int = Field(10, ge=2)
    """Trials that must have a result, failures among them, before the model is used; until then settings are random."""
    history: int = Field(200, ge=20, le=2000)
    """Trials that the process is fitted to, the best and the latest half and half; its cost grows with the cube."""

    def open(self, space: Space, trials: int, seed: int) -> Proposer:
        return _Process(self, space)


class _Process(Proposer):
    def __init__(self, options: GaussianProcess, space: Space):
        self.options, self.space = options, space
        self.middle = {path: dimension.at(0.5) for path, dimension in space.dimensions.items()}
        self.trials: dict[int, Told] = {}

    def tell(self, trial: Told) -> None:
        self.trials.pop(trial.number, None)  # the latest result stands last
        if self.space.holds(trial.settings):  # an older sweep may have searched elsewhere
            self.trials[trial.number] = trial

    def suggest(self, number: int, rng: np.random.Generator) -> dict[str, Any]:
        results = [trial for trial in self.trials.values() if trial.values or trial.state == "failed"]
        values = levelled(results)
        if len(results) < self.options.startup or len(set(values.values())) < 2:
            return self.space.at(rng.random(len(self.space.dimensions)))
        kept = _kept(values, self.options.history)
        running = [trial for trial in self.trials.values() if trial.number not in values][-self.options.history :]
        return self._allowed(number, kept, running, rng)

    def _allowed(self, number: int, values: dict[int, float], running: list[Told], rng: np.random.Generator) -> dict[str, Any]:
        """The most promising point; one that a constraint refuses is tried again as if it had given the worst value."""
        from optuna.samplers import GPSampler
        from optuna.trial import TrialState

        from heliostat.tune.samplers._study import Translation

        translation = Translation(self.space)
        trials = [translation.trial(n, TrialState.COMPLETE, self._whole(self.trials[n].settings), v) for n, v in sorted(values.items())]
        liar = median(values.values())
        trials += [translation.trial(t.number, TrialState.COMPLETE, self._whole(t.settings), liar) for t in running]

        def make(seed: int) -> GPSampler:
            return GPSampler(seed=seed, n_startup_trials=0)

        for _ in range(REFUSED):
            drawn = translation.ask(make, trials, number, rng)(list(self.space.dimensions))
            settings = self._existing(drawn)
            if self.space.allows(settings):
                return settings
            trials.append(translation.trial(number, TrialState.COMPLETE, drawn, min(values.values())))
        for _ in range(RANDOM_DRAWS):
            settings = self.space.at(rng.random(len(self.space.dimensions)))
            if self.space.allows(settings):
                break
        return settings

    def _whole(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {path: settings.get(path, middle) for path, middle in self.middle.items()}

    def _existing(self, drawn: dict[str, Any]) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        for path in self.space.dimensions:
            if self.space.exists(path, settings):
                settings[path] = drawn[path]
        return settings


def levelled(trials: Iterable[Told]) -> dict[int, float]:
    """Trial to its value as if all had reached the highest rung; empty while none gave a number."""
    trials = list(trials)
    gave = {trial.number: trial.values for trial in trials if trial.values and trial.state != "failed"}
    if not gave:
        return {}
    gains: dict[int, list[float]] = {}
    for values in gave.values():
        for rung in values.keys() & {r - 1 for r in values}:
            gains.setdefault(rung, []).append(values[rung + 1] - values[rung])
    level = {number: values[max(values)] + sum(fmean(g) for r, g in gains.items() if r >= max(values)) for number, values in gave.items()}
    best, middle = max(level.values()), median(level.values())
    floor = middle - WORST * (best - middle) if best > middle else min(level.values())
    worst = max(floor, min(level.values()))
    return {trial.number: max(worst, level[trial.number]) if trial.number in level else worst for trial in trials}


def _kept(values: dict[int, float], most: int) -> dict[int, float]:
    """At most `most` of them: the better half of the places for the best, the others for the latest."""
    if len(values) <= most:
        return values
    best = sorted(values, key=lambda number: -values[number])[: most // 2]
    rest = [number for number in values if number not in set(best)]
    return {number: values[number] for number in [*best, *rest[-(most - len(best)) :]]}
