"""Quasi-random points of a scrambled Sobol sequence (Owen, 1998): the same number of draws covers the space more evenly."""

from __future__ import annotations

from typing import Any

import numpy as np

from heliostat.core import seeds
from heliostat.tune.samplers.base import Base, Proposer
from heliostat.tune.space import Space


class Sobol(Base):
    """Evenly spread draws; better than random for small sweeps."""

    def open(self, space: Space, trials: int, seed: int) -> Proposer:
        return _Sequence(space, seed)


class _Sequence(Proposer):
    """A point that a constraint refuses is replaced by a random one: the sequence itself does not shift."""

    def __init__(self, space: Space, seed: int):
        self.space, self.seed = space, seed
        self._asked = -1

    def suggest(self, number: int, rng: np.random.Generator) -> dict[str, Any]:
        from scipy.stats import qmc

        if number == self._asked:
            return self.space.at(rng.random(len(self.space.dimensions)))
        self._asked = number
        sequence = qmc.Sobol(d=len(self.space.dimensions), rng=seeds.rng(self.seed, "tune", "sobol"))
        if number:  # scipy cannot skip nothing
            sequence.fast_forward(number)
        return self.space.at(sequence.random(1)[0])
