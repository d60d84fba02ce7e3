"""Settings of each trial of a sweep: the points to try first, then the sampler's, drawn again until the constraints hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from heliostat.core import seeds
from heliostat.core.errors import RunFailed
from heliostat.tune.samplers.base import Base, Told
from heliostat.tune.space import Space

DRAWS = 20
"""Times a sampler is asked for an allowed point, before random ones are drawn."""
RANDOM_DRAWS = 10_000


class Proposals:
    """What each trial tries. `tell` and `settings` in the same order give the same settings."""

    def __init__(self, sampler: Base, space: Space, trials: int, seed: int, first: Sequence[dict[str, Any]] = ()):
        self.space, self.seed = space, seed
        self.first = [{path: space.dimensions[path].own(value) for path, value in point.items()} for point in first]
        self.name = sampler.name()
        self.proposer = sampler.open(space, trials, seed)

    def tell(self, trial: Told) -> None:
        """A trial changed."""
        self.proposer.tell(trial)

    def settings(self, number: int) -> dict[str, Any]:
        """The settings of trial `number`, which begins now."""
        fixed = self.first[number] if number < len(self.first) else {}
        for attempt in range(DRAWS):
            rng = seeds.rng(self.seed, "tune", self.name, number, attempt)
            settings = self._laid_over(self.proposer.suggest(number, rng), fixed, rng)
            if fixed.keys() <= settings.keys() and self.space.allows(settings):
                return settings
        for attempt in range(RANDOM_DRAWS):
            rng = seeds.rng(self.seed, "tune", "allowed", number, attempt)
            settings = self.space.around(fixed, rng)
            if fixed.keys() <= settings.keys() and self.space.allows(settings):
                return settings
        texts = "; ".join(c.text for c in self.space.constraints)
        given = f" beside the first point {fixed}" if fixed else ""
        raise RunFailed(f"no settings of {RANDOM_DRAWS:,} random ones{given} satisfy the constraints: {texts}. Loosen tune.constraints.")

    def _laid_over(self, drawn: dict[str, Any], fixed: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The drawn settings with the fixed ones in their place; what does not exist beside those goes, what then exists is drawn."""
        if not fixed:
            return drawn
        spare = rng.random(len(self.space.dimensions))
        settings: dict[str, Any] = {}
        for (path, dimension), u in zip(self.space.dimensions.items(), spare, strict=True):
            if self.space.exists(path, settings):
                settings[path] = fixed[path] if path in fixed else drawn[path] if path in drawn else dimension.at(float(u))
        return settings
