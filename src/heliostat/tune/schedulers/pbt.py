"""Population based training (Jaderberg et al., 2017, arXiv:1711.09846), as Ray Tune ships it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from heliostat.core.errors import UserError
from heliostat.tune.schedulers._population import DRAWS, Population, PopulationCourse, relaid
from heliostat.tune.schedulers._ray import RULES
from heliostat.tune.schedulers.base import Course
from heliostat.tune.space import Dimension, Space, same


class Pbt(Population):
    """Ray's PopulationBasedTraining: every trial trains to the end, and the worst go on from copies of the best, slightly changed."""

    most: ClassVar[int] = 200

    resample_probability: float = Field(0.25, ge=0, le=1)
    """Chance that a copied value is drawn anew instead of changed a little."""
    factors: list[float] = Field([0.8, 1.2], min_length=1)
    """A copied number is multiplied by one of them; of a choice the next or the one before is taken."""

    @field_validator("factors")
    @classmethod
    def _positive(cls, factors: list[float]) -> list[float]:
        if wrong := [factor for factor in factors if factor <= 0]:
            raise UserError(f"each must be above 0, such as 0.8; {wrong[0]:g} was given.")
        return factors

    def open(self, trials: int, space: Space, seed: int) -> Course:
        from ray.tune.schedulers import PopulationBasedTraining

        stock = PopulationBasedTraining(
            **RULES,
            perturbation_interval=self.interval,
            quantile_fraction=self.quantile_fraction,
            custom_explore_fn=lambda settings: settings,
            log_config=False,
            synch=True,
        )
        explore = partial(explored, space, factors=self.factors, resample=self.resample_probability)
        return PopulationCourse(stock, trials, self.iterations, seed, explore)


def explored(
    space: Space, copied: dict[str, Any], rng: np.random.Generator, *, factors: Sequence[float], resample: float
) -> dict[str, Any]:
    """`copied` with each value that may change perturbed or drawn anew, such that the constraints hold; else `copied` as it is."""

    def new(path: str, dimension: Dimension) -> Any:
        if rng.random() < resample:
            return dimension.at(float(rng.random()))
        return perturbed(dimension, copied[path], factors, rng)

    for _ in range(DRAWS):
        settings = relaid(space, copied, new, rng)
        if space.allows(settings):
            return settings
    return dict(copied)


def perturbed(dimension: Dimension, value: Any, factors: Sequence[float], rng: np.random.Generator) -> Any:
    """A value near `value`: a neighbour among the choices, or the product with one of the factors, at least a step away."""
    if dimension.kind == "choice":
        at = next(i for i, choice in enumerate(dimension.choices) if same(choice, value))
        return dimension.choices[min(len(dimension.choices) - 1, max(0, at + int(rng.choice([-1, 1]))))]
    factor = float(rng.choice(factors))
    moved = dimension.nearest(value * factor)
    step = dimension.step or (1.0 if dimension.whole else None)
    if step is not None and moved == value and factor != 1:
        return dimension.nearest(value + (step if (factor > 1) == (value >= 0) else -step))
    return moved
