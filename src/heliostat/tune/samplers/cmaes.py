"""Covariance matrix adaptation (Hansen and Ostermeier, 2001), asynchronous, restarted with twice the population (Auger and Hansen, 2005).

Numbers lie in a unit cube, each in its own scale. Trials are drawn from the current distribution for as long as results are
awaited; when a generation's worth of them is there, ranked by how often they went on and by where their value lies among those
that came as far, the distribution moves.
A choice is drawn at random: nothing is learnt of it. An older sweep sets where it begins (Nomura et al., 2021).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from heliostat.core import seeds
from heliostat.tune.samplers.base import Base, Proposer, Told
from heliostat.tune.space import Space

if TYPE_CHECKING:
    import cmaes

OLDEST = 1
"""Generations by which a trial may be older than the distribution that it moves."""
OLDER_TRIALS = 10
"""Results of an older sweep from which a beginning can be estimated."""
CONVERGED = 1e-3
"""Share of every dimension's range within which a whole generation lies when nothing is left to find there."""


class Cmaes(Base):
    """Moves a cloud of points uphill; for many numbers that depend on each other, and hundreds of trials."""

    population: int | None = Field(None, ge=4)
    """Results that move the distribution once; None is 4 + 3 ln(numbers). Give at least as many as run side by side."""
    sigma: float = Field(0.3, gt=0, le=1)
    """First standard deviation, as a share of every dimension's range."""

    def open(self, space: Space, trials: int, seed: int) -> Proposer:
        return _Evolution(self, space, seed)

    def problems(self, space: Space, trials: int) -> list[str]:
        numbers = {path: dimension for path, dimension in space.dimensions.items() if dimension.kind != "choice"}
        conditional = [path for path, dimension in numbers.items() if dimension.when]
        if conditional:
            return [f"cmaes needs numbers that always exist, and these exist only beside other values: {', '.join(conditional)}. Use tpe."]
        return [] if numbers else ["cmaes searches numbers, and this space has only choices. Use tpe, bohb or grid."]


class _Evolution(Proposer):
    """What `suggest` does leaves no trace: the distribution is moved by `tell` alone."""

    def __init__(self, options: Cmaes, space: Space, seed: int):
        self.options, self.space, self.seed = options, space, seed
        self.numbers = [path for path, dimension in space.dimensions.items() if dimension.kind != "choice"]
        self.older: dict[int, Told] = {}
        self.seen: dict[int, list[float]] = {}
        """Rung to all values there, sorted."""
        self.told: dict[int, int] = {}
        """Trial to how many of its values are seen."""
        self.born: dict[int, int] = {}
        """Trial that has not moved anything yet to the generation it was drawn from."""
        self.waiting: dict[int, Told] = {}
        """Trials that have a result, up to a generation of them."""
        self.moved = self.restarts = 0
        self._cloud: cmaes.CMA | None = None

    def tell(self, trial: Told) -> None:
        if not self.space.holds(trial.settings):
            return
        if trial.number < 0:
            self.older[trial.number] = trial
            return
        self._see(trial)
        if trial.state == "running" and not trial.values:
            self.born[trial.number] = self.moved
        elif trial.number in self.waiting:
            self.waiting[trial.number] = trial
        elif trial.number in self.born and self.moved - self.born.pop(trial.number) <= OLDEST:
            self.waiting[trial.number] = trial
            if len(self.waiting) == self.cloud.population_size:
                self._move()

    def _see(self, trial: Told) -> None:
        if len(trial.values) > self.told.get(trial.number, 0):
            self.told[trial.number] = len(trial.values)
            rung = max(trial.values)
            insort(self.seen.setdefault(rung, []), trial.values[rung])

    def suggest(self, number: int, rng: np.random.Generator) -> dict[str, Any]:
        place = dict(zip(self.space.dimensions, rng.random(len(self.space.dimensions)), strict=True))
        self.cloud.reseed_rng(int(rng.integers(2**32)))
        place |= dict(zip(self.numbers, self.cloud.ask(), strict=True))
        return self.space.at(list(place.values()))

    @property
    def cloud(self) -> cmaes.CMA:
        """The current distribution; the first one once an older sweep has been told."""
        if self._cloud is None:
            self._cloud = self._begin()
        return self._cloud

    def _begin(self) -> cmaes.CMA:
        import cmaes

        dimensions = len(self.numbers)
        population = (self.options.population or 4 + math.floor(3 * math.log(dimensions))) * 2**self.restarts
        mean, sigma, shape = np.full(dimensions, 0.5), self.options.sigma, None
        known = [(self._point(trial), float(rank)) for rank, trial in enumerate(self._ranked(self.older)) if trial.values]
        if self.restarts:
            mean = seeds.rng(self.seed, "tune", "cmaes", self.restarts).random(dimensions)
        elif len(known) >= OLDER_TRIALS:
            mean, sigma, shape = cmaes.get_warm_start_mgd(known, gamma=max(0.1, 3 / len(known)), alpha=0.1)
        bounds = np.tile([0.0, 1.0], (dimensions, 1))
        return cmaes.CMA(mean, sigma, bounds, seed=0, population_size=population, cov=shape)

    def _move(self) -> None:
        """One generation: the ranks stand for the values, which are not comparable between rungs."""
        points = [self._point(trial) for trial in self._ranked(self.waiting)]
        self.cloud.tell([(point, float(rank)) for rank, point in enumerate(points)])
        self.waiting, self.moved = {}, self.moved + 1
        if np.ptp(points, axis=0).max() < CONVERGED:
            self._cloud, self.restarts = None, self.restarts + 1

    def _point(self, trial: Told) -> np.ndarray:
        return np.array([self.space.dimensions[path].place(trial.settings[path]) for path in self.numbers])

    def _ranked(self, trials: dict[int, Told]) -> list[Told]:
        """Best first: who went on more often, then whose value is better among all at its rung, then who began first; failures last.

        Brackets begin at different rungs: how far a trial came says nothing by itself.
        """

        def rank(trial: Told) -> tuple[int, float, int]:
            if trial.state == "failed" or not trial.values:
                return 1, math.inf, trial.number
            rung = max(trial.values)
            seen = self.seen.get(rung) or sorted(other.values[rung] for other in trials.values() if rung in other.values)
            worse = bisect_left(seen, trial.values[rung]) + bisect_right(seen, trial.values[rung])
            return -len(trial.values), -worse / len(seen), trial.number

        return sorted(trials.values(), key=rank)
