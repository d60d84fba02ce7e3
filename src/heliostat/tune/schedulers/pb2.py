"""Population based bandits (Parker-Holder et al., 2020, arXiv:2002.02518), as Ray Tune ships them."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np

from heliostat.tune.schedulers._population import Population, PopulationCourse, changeable, relaid
from heliostat.tune.schedulers._ray import RULES
from heliostat.tune.schedulers.base import Course, Result
from heliostat.tune.space import Dimension, Space

BELOW_ONE = float(np.nextafter(1.0, 0.0))


class Pb2(Population):
    """Ray's PB2: as pbt, with new values from a Gaussian process that predicts which ones improve most. Numbers only.

    It sees each value by its place between the ends of its dimension, on a logarithmic scale where the dimension has one.
    """

    most: ClassVar[int] = 100

    def problems(self, trials: int, space: Space) -> list[str]:
        found = super().problems(trials, space)
        for path, dimension in space.dimensions.items():
            if dimension.kind == "choice":
                found.append(f"it searches numbers, and {path} is a choice. Use pbt, or give {path} a range.")
            elif dimension.when:
                found.append(f"it searches values that always exist, and {path} has a when. Use pbt, or take the when out.")
        return found

    def open(self, trials: int, space: Space, seed: int) -> Course:
        from ray.tune.schedulers.pb2 import PB2

        stock = PB2(
            **RULES,
            perturbation_interval=self.interval,
            quantile_fraction=self.quantile_fraction,
            hyperparam_bounds={path: [0.0, 1.0] for path in space.dimensions if changeable(path)},
            log_config=False,
            synch=True,
        )
        return _Bandits(stock, trials, self.iterations, seed, space)


class _Bandits(PopulationCourse):
    """Ray's scheduler sees the places of the values that may change, and chooses new ones itself."""

    def __init__(self, stock: Any, trials: int, iterations: int, seed: int, space: Space):
        self.space = space
        super().__init__(stock, trials, iterations, seed, explore=lambda settings, rng: settings)

    def see(self, result: Result) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a Gaussian process that is still new to its data
            super().see(result)

    def _explored(self, trial: Any, copied: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        def new(path: str, dimension: Dimension) -> Any:
            return dimension.at(min(BELOW_ONE, max(0.0, float(trial.config[path]))))

        settings = relaid(self.space, copied, new, rng)
        return settings if self.space.allows(settings) else dict(copied)

    def _config(self) -> dict[str, Any]:
        return {path: 0.0 for path in self.space.dimensions if changeable(path)}

    def _seen_by_ray(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {path: dimension.place(settings[path]) for path, dimension in self.space.dimensions.items() if changeable(path)}
