"""A space in Optuna's words: the distribution of a dimension, and a tried value as Optuna keeps it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from heliostat.tune.space import Dimension, same

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def distribution(dimension: Dimension) -> BaseDistribution:
    """The distribution of `dimension`. Steps are left out, which Optuna's own rounding would not always meet."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if dimension.kind == "choice":
        return CategoricalDistribution([_choice(c) for c in dimension.choices])
    log = dimension.kind.startswith("log")
    if dimension.kind in ("int", "log_int"):
        return IntDistribution(int(dimension.low), int(dimension.high), log=log)
    return FloatDistribution(dimension.low, dimension.high, log=log)


def kept(dimension: Dimension, value: Any) -> float | None:
    """`value` as Optuna keeps it: the number, inside the bounds, or the place of the choice; None when it is no value of it."""
    if dimension.kind == "choice":
        return next((float(i) for i, choice in enumerate(dimension.choices) if same(choice, value)), None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(min(dimension.high, max(dimension.low, value)))


def _choice(value: Any) -> Any:
    """A choice as Optuna shows it; what is not one plain value is shown as text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict) and set(value) == {"use"}:
        return str(value["use"])
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
