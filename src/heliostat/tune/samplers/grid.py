"""Every combination of a few values of each dimension: nothing is left to chance, and nothing is learnt.

Points that a constraint refuses are not on the grid, and a dimension that does not exist beside others adds no points there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from pydantic import Field

from heliostat.core import seeds
from heliostat.tune.samplers.base import Base, Proposer, Told
from heliostat.tune.space import Dimension, Space

LARGEST = 100_000
"""Points of the largest grid that is laid out."""


class Grid(Base):
    """Every combination of the listed values, once each, in a random order."""

    points: int = Field(4, ge=2, le=1000)
    """Values of a dimension that has neither choices nor a step: evenly spaced in its own scale, both ends among them; a range of
    fewer whole numbers gives all of them. A choice, and a number with a step, give every value."""

    def open(self, space: Space, trials: int, seed: int) -> Proposer:
        grid = [point for point in islice(laid_out(space, self.points), LARGEST) if space.allows(point)]
        return _Rounds(space, [grid[i] for i in seeds.rng(seed, "tune", "grid").permutation(len(grid))])

    def problems(self, space: Space, trials: int) -> list[str]:
        grid = list(islice(laid_out(space, self.points), LARGEST + 1))
        if len(grid) > LARGEST:
            return [f"the grid has more than {LARGEST:,} points. Search fewer dimensions, or take fewer values of each (points, step)."]
        count = sum(map(space.allows, grid))
        if trials <= count:
            return []
        given = f" ({len(grid):,}, of which the constraints allow {count:,})" if count < len(grid) else ""
        return [f"the grid has {count:,} points{given}, and {trials:,} trials are asked for. Lower trials to {count:,}, or raise points."]


class _Rounds(Proposer):
    """The first point that was tried least often: those that first points or an older sweep have tried are not tried again."""

    def __init__(self, space: Space, grid: list[dict[str, Any]]):
        self.space, self.grid = space, grid
        self._place = {_key(point): i for i, point in enumerate(grid)}
        self._times = [0] * len(grid)
        self._begun: set[int] = set()
        self._round, self._next = 0, 0

    def tell(self, trial: Told) -> None:
        if trial.number in self._begun:
            return
        self._begun.add(trial.number)
        if (place := self._place.get(_key(trial.settings))) is not None:
            self._times[place] += 1
        while self.grid and self._times[self._next] > self._round:
            self._next += 1
            if self._next == len(self.grid):
                self._round, self._next = self._round + 1, 0

    def suggest(self, number: int, rng: np.random.Generator) -> dict[str, Any]:
        return self.grid[self._next] if self.grid else self.space.at(rng.random(len(self.space.dimensions)))


def laid_out(space: Space, points: int) -> Iterator[dict[str, Any]]:
    """The grid, the last dimension fastest; constraints are not asked."""
    values = {path: taken(dimension, points) for path, dimension in space.dimensions.items()}

    def below(paths: list[str], settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if not paths:
            yield settings
        elif not space.exists(paths[0], settings):
            yield from below(paths[1:], settings)
        else:
            for value in values[paths[0]]:
                yield from below(paths[1:], {**settings, paths[0]: value})

    return below(list(space.dimensions), {})


def taken(dimension: Dimension, points: int) -> list[Any]:
    """The values of one dimension on the grid, each once."""
    if dimension.kind == "choice":
        values = list(dimension.choices)
    elif dimension.step is not None:
        values = [dimension.nearest(dimension.low + i * dimension.step) for i in range(dimension.steps + 1)]
    elif dimension.whole and dimension.steps < points:
        values = [dimension.nearest(dimension.low + i) for i in range(dimension.steps + 1)]
    elif dimension.kind.startswith("log"):
        ends = math.log(dimension.low), math.log(dimension.high)
        values = [dimension.nearest(math.exp(v)) for v in np.linspace(*ends, points)]
    else:
        values = [dimension.nearest(float(v)) for v in np.linspace(dimension.low, dimension.high, points)]
    return list({_key(value): value for value in values}.values())


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)
