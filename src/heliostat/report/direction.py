"""Which way a metric is better. The metrics family knows its own; a name from outside it counts as better when higher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from heliostat.core.family import find, names

if TYPE_CHECKING:
    from heliostat.metrics.base import Base as Metric


def mode_of(metric: str) -> Literal["max", "min"]:
    """`max` when a higher value of `metric` is better, else `min`."""
    if metric not in names("metrics"):
        return "max"
    return cast("type[Metric]", find("metrics", metric)).mode
