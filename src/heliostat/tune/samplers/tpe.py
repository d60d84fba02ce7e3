"""Tree-structured Parzen estimator (Bergstra et al., 2011), with Optuna's joint densities (Watanabe, 2023, arXiv:2304.11127).

Trials are ranked by how far they came, then by their value there, so that a paused trial counts at once; a failed one ranks last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from heliostat.tune.samplers.base import Base, Proposer, Told
from heliostat.tune.space import Space

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class Tpe(Base):
    """More draws where good trials lie and bad ones do not; takes any space."""

    startup: int = Field(10, ge=1)
    """Trials that must have a result, failures among them, before the model is used; until then settings are random."""
    multivariate: bool = True
    """Model dimensions that exist together jointly; false takes each for itself."""
    candidates: int = Field(24, ge=1, le=10_000)
    """Draws from the good trials' density, of which the most promising one is taken."""

    def open(self, space: Space, trials: int, seed: int) -> Proposer:
        return _Densities(self, space)


class _Densities(Proposer):
    """Cost of `tell` does not grow with the number of trials, that of `suggest` does, in proportion."""

    def __init__(self, options: Tpe, space: Space):
        from heliostat.tune.samplers._study import Translation

        self.options, self.space = options, space
        self.translation = Translation(space)
        self.trials: dict[int, FrozenTrial] = {}
        self.results = 0

    def tell(self, trial: Told) -> None:
        self.results -= self._has_result(trial.number)
        self.trials.pop(trial.number, None)
        if self.space.holds(trial.settings):  # an older sweep may have searched elsewhere
            self.trials[trial.number] = self._seen(trial)
            self.results += self._has_result(trial.number)

    def suggest(self, number: int, rng: np.random.Generator) -> dict[str, Any]:
        from optuna.samplers import TPESampler

        if self.results < self.options.startup:
            return self.space.at(rng.random(len(self.space.dimensions)))

        def make(seed: int) -> TPESampler:
            return TPESampler(seed=seed, n_startup_trials=0, n_ei_candidates=self.options.candidates, multivariate=True, constant_liar=True)

        return self.translation.draw(make, self.trials.values(), number, rng, self.options.multivariate)

    def _has_result(self, number: int) -> bool:
        return number in self.trials and self.trials[number].state.is_finished()

    def _seen(self, trial: Told) -> FrozenTrial:
        """A trial that runs on after a promotion counts with what it has: Optuna takes a running one for a bad one."""
        from optuna.trial import TrialState

        if trial.state == "failed":
            return self.translation.trial(trial.number, TrialState.PRUNED, trial.settings)
        if not trial.values:
            return self.translation.trial(trial.number, TrialState.RUNNING, trial.settings)
        rung = max(trial.values)
        state = TrialState.COMPLETE if trial.state == "completed" else TrialState.PRUNED
        return self.translation.trial(trial.number, state, trial.settings, trial.values[rung], rung)
