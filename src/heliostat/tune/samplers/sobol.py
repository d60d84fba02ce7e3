"""Quasi-random points of a scrambled Sobol sequence (Owen, 1998): the same number of draws covers the space more evenly."""

from __future__ import annotations

from typing import Any

from heliostat.core import seeds
from heliostat.tune.samplers.base import Base
from heliostat.tune.space import Dimension


class Sobol(Base):
    """Evenly spread draws; better than random for small sweeps."""

    def suggest(self, number: int, dimensions: dict[str, Dimension], seed: int) -> dict[str, Any]:
        from scipy.stats import qmc

        sequence = qmc.Sobol(d=len(dimensions), rng=seeds.rng(seed, "tune", "sobol"))
        if number:  # scipy cannot skip nothing
            sequence.fast_forward(number)
        point = sequence.random(1)[0]
        return {path: dimension.at(float(u)) for (path, dimension), u in zip(dimensions.items(), point, strict=True)}
