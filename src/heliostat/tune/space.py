"""The search space: config paths and what may be tried there.

A dimension maps a number in [0, 1) to a value, so that any sampler (random, Sobol, a model) only makes numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from heliostat.core.errors import OptionError, UserError, unknown

MANY = 256
KINDS = ("uniform", "log_uniform", "int", "choice")


@dataclass(frozen=True)
class Dimension:
    """One searched value: `kind` with `low` and `high`, or `choices`."""

    kind: str
    low: float = 0.0
    high: float = 1.0
    choices: tuple[Any, ...] = ()

    def at(self, u: float) -> Any:
        """The value at `u` in [0, 1); uniform `u` gives the dimension's own distribution."""
        if self.kind == "choice":
            return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]
        if self.kind == "int":
            return int(self.low + math.floor(u * (self.high - self.low + 1)))
        if self.kind == "log_uniform":
            value = math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + u * (self.high - self.low)
        return min(self.high, max(self.low, float(f"{value:.6g}")))

    def examples(self) -> list[Any]:
        """What shows whether the dimension can be tried: every choice and a few whole numbers, or the two ends."""
        if self.kind == "choice":
            return list(self.choices)
        if self.kind == "int" and self.high - self.low < MANY:
            return list(range(int(self.low), int(self.high) + 1))
        return [self.at(0.0), self.at(math.nextafter(1.0, 0.0))]


def parse_space(space: dict[str, Any]) -> dict[str, Dimension]:
    """The dimensions of a `tune.space`; every problem raised at once as a `UserError`."""
    if not space:
        raise UserError("the space is empty: give at least one path, for example train.optimizer.lr: {log_uniform: [1e-5, 3e-4]}.")
    problems: list[str] = []
    out: dict[str, Dimension] = {}
    for path, spec in space.items():
        try:
            out[path] = _dimension(path, spec)
        except UserError as error:
            problems += error.problems
    if problems:
        raise OptionError(problems)
    return out


def _dimension(path: str, spec: Any) -> Dimension:
    if not isinstance(spec, dict) or len(spec) != 1:
        raise UserError(f"{path}: write one of {{{'|'.join(KINDS)}: [...]}}; {spec!r} was given.")
    kind, values = next(iter(spec.items()))
    if kind not in KINDS:
        raise UserError(f"{path}: {unknown('distribution', str(kind), KINDS)}")
    if not isinstance(values, list) or not values:
        raise UserError(f"{path}: {kind} needs a list; {values!r} was given.")
    if kind == "choice":
        return Dimension(kind, choices=tuple(values))
    try:
        low, high = (float(v) for v in values)
    except (TypeError, ValueError):
        raise UserError(f"{path}: {kind} needs two numbers [low, high]; {values!r} was given.") from None
    if not low < high or math.isinf(high - low):
        raise UserError(f"{path}: {kind} needs finite low < high; {values!r} was given.")
    if kind == "log_uniform" and low <= 0:
        raise UserError(f"{path}: log_uniform needs low > 0; {values!r} was given.")
    if kind == "int" and (low % 1 or high % 1):
        raise UserError(f"{path}: int needs whole numbers; {values!r} was given.")
    return Dimension(kind, low, high)
