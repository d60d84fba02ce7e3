"""How a benchmark tells a figure: one JSON line, a middle with its interval, the goal, and what it was compared with."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence

import numpy as np

from heliostat.core import seeds


def figure(
    name: str, values: Sequence[float], goal: str | None, holds: bool | None, against: str, *, interval: tuple[float, float] | None = None
) -> None:
    """Print one figure: the median of `values`, with `interval`, or their range when there is none; some figures have no goal."""
    low, high = interval or (min(values), max(values))
    told = {"name": name, "value": round(statistics.median(values), 3), "low": round(low, 3), "high": round(high, 3)}
    print(json.dumps(told | {"goal": goal, "holds": holds, "against": against}), flush=True)


def interval_of_median(values: Sequence[float], draws: int = 10_000) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the median (Efron, 1979)."""
    array_N = np.asarray(values)
    picks_DN = seeds.rng(0, "bench", "bootstrap").integers(len(array_N), size=(draws, len(array_N)))
    low, high = np.quantile(np.median(array_N[picks_DN], axis=1), [0.025, 0.975])
    return float(low), float(high)


def met(goal: str, values: Sequence[float]) -> bool:
    """Whether the median holds against a goal such as `<= 50`."""
    sign, _, limit = goal.partition(" ")
    middle = statistics.median(values)
    return middle <= float(limit) if sign == "<=" else middle >= float(limit)
