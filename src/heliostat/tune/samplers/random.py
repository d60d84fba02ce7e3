"""Independent random points (Bergstra and Bengio, 2012)."""

from __future__ import annotations

from typing import Any

from heliostat.core import seeds
from heliostat.tune.samplers.base import Base
from heliostat.tune.space import Dimension


class Random(Base):
    """Independent draws from each dimension's distribution."""

    def suggest(self, number: int, dimensions: dict[str, Dimension], seed: int) -> dict[str, Any]:
        draws = seeds.rng(seed, "tune", "random", number).random(len(dimensions))
        return {path: dimension.at(float(u)) for (path, dimension), u in zip(dimensions.items(), draws, strict=True)}
