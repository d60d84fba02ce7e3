"""BOHB (Falkner et al., 2018, arXiv:1807.01774): densities of good and bad trials at the highest rung that has enough results.

Beside `asha` it gives what the paper calls BOHB. The densities are those of Optuna's multivariate TPE: the paper's own kernels have
no flat part and collapse onto the first good trials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from heliostat.tune.samplers.base import Base, Proposer, Told
from heliostat.tune.space import Space

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class Bohb(Base):
    """Learns at the highest rung that has enough results; made for sweeps that stop bad trials early."""

    random: float = Field(1 / 3, ge=0, le=1)
    """Share of settings that are drawn at random, whatever was learnt."""
    candidates: int = Field(24, ge=1, le=10_000)
    """Draws from the good trials' density, of which the most promising one is taken."""

    def open(self, space: Space, trials: int, seed: int) -> Proposer:
        return _Model(self, space)


class _Model(Proposer):
    """A rung has enough at N + 2 numbers, N being the number of dimensions + 1; a failure is the worst at every rung."""

    def __init__(self, options: Bohb, space: Space):
        from heliostat.tune.samplers._study import Translation

        self.options, self.space, self.translation = options, space, Translation(space)
        self.enough = len(space.dimensions) + 3
        self.rungs: dict[int, dict[int, FrozenTrial]] = {}
        """Rung to trial to its record with the value there."""
        self.without: dict[int, FrozenTrial] = {}
        """Trials that failed, or run and have no value yet."""

    def tell(self, trial: Told) -> None:
        from optuna.trial import TrialState

        for records in (self.without, *self.rungs.values()):
            records.pop(trial.number, None)
        if not self.space.holds(trial.settings):  # an older sweep may have searched elsewhere
            return
        if trial.state == "failed" or not trial.values:
            state = TrialState.PRUNED if trial.state == "failed" else TrialState.RUNNING
            self.without[trial.number] = self.translation.trial(trial.number, state, trial.settings)
            return
        for rung, value in trial.values.items():
            record = self.translation.trial(trial.number, TrialState.COMPLETE, trial.settings, value)
            self.rungs.setdefault(rung, {})[trial.number] = record

    def suggest(self, number: int, rng: np.random.Generator) -> dict[str, Any]:
        from optuna.samplers import TPESampler

        by_chance, place = rng.random() < self.options.random, rng.random(len(self.space.dimensions))
        records = next((self.rungs[r] for r in sorted(self.rungs, reverse=True) if len(self.rungs[r]) >= self.enough), None)
        if records is None or by_chance:
            return self.space.at(place)

        def make(seed: int) -> TPESampler:
            return TPESampler(seed=seed, n_startup_trials=0, n_ei_candidates=self.options.candidates, multivariate=True, constant_liar=True)

        return self.translation.draw(make, [*records.values(), *self.without.values()], number, rng)
