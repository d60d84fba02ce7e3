"""Which way a metric is better. Members of metrics know their own; a suite's other numbers count as better when higher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from heliostat.core.family import find, names

if TYPE_CHECKING:
    from heliostat.metrics.base import Base as Metric


def mode_of(metric: str) -> Literal["max", "min"]:
    """`max` when a higher value of `metric` is better, else `min`."""
    if "." not in metric and metric not in names("metrics"):
        return "max"
    return cast("type[Metric]", find("metrics", metric)).mode
