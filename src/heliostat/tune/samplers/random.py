"""Independent random points (Bergstra and Bengio, 2012)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from heliostat.tune.samplers.base import Base, Proposer
from heliostat.tune.space import Space


class Random(Base):
    """Independent draws from each dimension's distribution."""

    def open(self, space: Space, trials: int, seed: int) -> Proposer:
        return _Draws(space)


@dataclass(frozen=True)
class _Draws(Proposer):
    space: Space

    def suggest(self, number: int, rng: np.random.Generator) -> dict[str, Any]:
        return self.space.at(rng.random(len(self.space.dimensions)))
