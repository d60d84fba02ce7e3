"""The search space: config paths, what may be tried there, and which combinations are allowed.

A dimension maps a number in [0, 1) to a value, so that a sampler may only make numbers. A dimension with `when` exists only
beside certain values of another one; settings hold the dimensions that exist, parents before what depends on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heliostat.core import seeds
from heliostat.core.errors import OptionError, UserError, nearest, unknown
from heliostat.tune.constraints import Constraint, parse_constraint

MANY = 256
FIRST, SPREAD = 8, 24
"""Values, of more than can be listed, that are looked at: those after the low end, and others from all over."""
GOLDEN = (math.sqrt(5.0) - 1.0) / 2
"""Its multiples, less their whole parts, are evenly spread however many they are."""
KINDS = ("uniform", "log_uniform", "int", "log_int", "choice")
OPTIONS = ("step", "when")
TRIED_POINTS = 4096
"""Random points among which at least one must be allowed by the constraints."""
ROUNDING = 1e-9
"""Of a step: what sums of steps may be off."""


@dataclass(frozen=True)
class Dimension:
    """One searched value: `kind` with `low` and `high`, or `choices`."""

    kind: str
    low: float = 0.0
    high: float = 1.0
    choices: tuple[Any, ...] = ()
    step: float | None = None
    """Values are `low` plus a multiple of it; None is not quantised."""
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    """(path, values) pairs: it exists only while each path has one of its values."""

    @property
    def steps(self) -> int:
        """How many steps fit between `low` and `high`."""
        return math.floor((self.high - self.low) / (self.step or 1.0) + 1e-9)

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return self.kind in ("int", "log_int")

    def at(self, u: float) -> Any:
        """The value at `u` in [0, 1); uniform `u` gives the dimension's own distribution."""
        if self.kind == "choice":
            return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]
        low, high = self._ends()
        value = low + u * (high - low)
        return self.nearest(math.exp(value) if self.kind.startswith("log") else value)

    def place(self, value: Any) -> float:
        """The `u` in [0, 1] at which `value` lies: `at(place(value))` is `value`, which must be one that `holds`."""
        if self.kind == "choice":
            return (self.index(value) + 0.5) / len(self.choices)
        low, high = self._ends()
        if self.kind == "log_int":  # in the middle of its share, which is not where its logarithm lies
            value = (math.log(value - 0.5) + math.log(value + 0.5)) / 2
        elif self.kind == "log_uniform":
            value = math.log(value)
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def index(self, value: Any) -> int:
        """The place of `value` among the choices."""
        return next(i for i, choice in enumerate(self.choices) if same(value, choice))

    def _ends(self) -> tuple[float, float]:
        """The range whose even division gives every value its share; of logarithms for a logarithmic kind."""
        half = (self.step or (1.0 if self.whole else 0.0)) / 2  # a value in steps stands for half a step on either side
        top = self.high if self.step is None else self.low + self.steps * self.step
        low, high = self.low - half, top + half
        return (math.log(low), math.log(high)) if self.kind.startswith("log") else (low, high)

    def nearest(self, value: float) -> Any:
        """The allowed number closest to `value`."""
        if self.step is not None:
            value = self.low + self.step * min(self.steps, max(0, round((value - self.low) / self.step)))
            value = 0.0 if abs(value) < ROUNDING * self.step else value  # sums of steps miss it
        if self.whole:
            return round(min(self.high, max(self.low, value)))
        return min(self.high, max(self.low, float(f"{value:.6g}")))

    def holds(self, value: Any) -> bool:
        """Whether `value` may be tried."""
        if self.kind == "choice":
            return any(same(value, choice) for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        if self.whole and value % 1:
            return False
        return self.step is None or math.isclose(self.nearest(value), value, rel_tol=1e-5, abs_tol=ROUNDING * self.step)

    def own(self, value: Any) -> Any:
        """A value that it holds as it writes it itself: 1 and 1.0 are one value, and must not be two corpora or two points of a grid."""
        if self.kind == "choice":
            return self.choices[self.index(value)]
        return self.nearest(value) if self.whole or self.step is not None else float(value)

    def values(self) -> list[Any] | None:
        """Every value there is, in order; None when there are too many to list."""
        if self.kind == "choice":
            return list(self.choices)
        step = self.step or (1.0 if self.whole else None)
        if step is None or self.steps >= MANY:
            return None
        return [self.nearest(self.low + i * step) for i in range(self.steps + 1)]

    def examples(self) -> list[Any]:
        """What shows whether the dimension can be tried: every value when they are few, else the two ends; of values in steps also the
        first ones, among which shows what has to divide, and some from all over."""
        if listed := self.values():
            return listed
        ends = [self.at(0.0), self.at(math.nextafter(1.0, 0.0))]
        if self.step is None and not self.whole:
            return ends
        first = [self.nearest(self.low + i * (self.step or 1.0)) for i in range(1, FIRST + 1)]
        return list(dict.fromkeys([*ends, *first, *(self.at(i * GOLDEN % 1.0) for i in range(1, SPREAD + 1))]))


@dataclass(frozen=True)
class Space:
    """Dimensions by path, parents first, and the constraints between them."""

    dimensions: dict[str, Dimension]
    constraints: tuple[Constraint, ...] = ()

    def exists(self, path: str, settings: Mapping[str, Any]) -> bool:
        """Whether the dimension at `path` exists beside `settings`."""
        return all(
            parent in settings and any(matches(settings[parent], value) for value in values)
            for parent, values in self.dimensions[path].when
        )

    def at(self, point: Sequence[float] | np.ndarray, fixed: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Settings at `point`, one number in [0, 1) per dimension, with `fixed` values in their place; those of dimensions that do not
        exist there are not used."""
        settings: dict[str, Any] = {}
        for (path, dimension), u in zip(self.dimensions.items(), point, strict=True):
            if self.exists(path, settings):
                settings[path] = fixed[path] if fixed and path in fixed else dimension.at(float(u))
        return settings

    def around(self, part: Mapping[str, Any], rng: np.random.Generator, also: Iterable[str] = ()) -> dict[str, Any]:
        """Random settings with the values of `part`, in which its paths and those of `also` exist as far as they can together."""
        needed = needs([*part, *also], self.dimensions)
        above = {path: values[int(rng.integers(len(values)))] for path, values in needed.items() if values}
        return self.at(rng.random(len(self.dimensions)), {**above, **part})

    def holds(self, settings: Mapping[str, Any]) -> bool:
        """Whether `settings` are a whole point of this space, whatever the constraints say."""
        existing = [path for path in self.dimensions if self.exists(path, settings)]
        return settings.keys() == set(existing) and all(self.dimensions[path].holds(settings[path]) for path in existing)

    def allows(self, settings: Mapping[str, Any]) -> bool:
        """Whether every constraint holds."""
        return all(constraint.holds(settings) for constraint in self.constraints)

    def problems(self, settings: Mapping[str, Any]) -> list[str]:
        """Why `settings`, whole or in part, are not a point of this space; each begins with a path."""
        found = []
        for path, value in settings.items():
            if path not in self.dimensions:
                close = nearest(path, self.dimensions)
                found.append(f"{path}: it is not searched." + (f" Did you mean '{close}'?" if close else ""))
            elif not self.dimensions[path].holds(value):
                found.append(f"{path}: {value!r} is not one of the values that may be tried: {told(self.dimensions[path])}.")
        return found


def contradictory(space: Space) -> bool:
    """Whether the constraints leave nothing: none of `TRIED_POINTS` random points is allowed. `UserError` when one cannot be worked out."""
    points = seeds.rng(0, "tune", "contradictory").random((TRIED_POINTS, len(space.dimensions)))
    return not any([space.allows(space.at(point)) for point in points])  # all of them, so that values that cannot be compared show


def completed(space: Space, part: Mapping[str, Any], also: Sequence[str] = ()) -> dict[str, Any] | None:
    """Allowed settings that have all of `part` and the paths of `also`; None when none of `TRIED_POINTS` random ones is such."""
    rng, wanted = seeds.rng(0, "tune", "completed"), {*part, *also}
    tried = (space.around(part, rng, also) for _ in range(TRIED_POINTS))
    return next((settings for settings in tried if wanted <= settings.keys() and space.allows(settings)), None)


def needs(paths: Iterable[str], found: Mapping[str, Dimension]) -> dict[str, list[Any]]:
    """Each dimension that decides about one of `paths`, with its values beside which all of them may exist."""
    out: dict[str, list[Any]] = {}
    waiting = list(paths)
    while waiting:
        for parent, wanted in found[waiting.pop()].when:
            left = out[parent] if parent in out else found[parent].values() or list(wanted)
            out[parent] = [value for value in left if any(matches(value, one) for one in wanted)]
            waiting.append(parent)
    return out


def same(one: Any, other: Any) -> bool:
    """Equal, and a truth value is not a number."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def matches(value: Any, wanted: Any) -> bool:
    """Whether a tried value is the one a `when` names; a family member may be named by its `use` alone."""
    return same(value, wanted) or (isinstance(value, dict) and isinstance(wanted, str) and value.get("use") == wanted)


def told(dimension: Dimension) -> str:
    """`log_uniform 1e-05 to 0.0003`, or the choices."""
    if dimension.kind == "choice":
        return ", ".join(map(str, dimension.choices))
    return f"{dimension.kind} {dimension.low:g} to {dimension.high:g}" + (f" in steps of {dimension.step:g}" if dimension.step else "")


def parse_space(space: dict[str, Any], constraints: Sequence[str] = ()) -> Space:
    """The space of a `tune.space` and its constraints; every problem raised at once as a `UserError`."""
    if not space:
        raise UserError("the space is empty: give at least one path, for example train.optimizer.lr: {log_uniform: [1e-5, 3e-4]}.")
    problems: list[str] = []
    found: dict[str, Dimension] = {}
    for path, spec in space.items():
        try:
            found[path] = _dimension(path, spec)
        except UserError as error:
            problems += error.problems
    if not problems:
        problems += [p for path, dimension in found.items() for p in _when_problems(path, dimension, found)]
    if not problems:
        problems += [
            f"{path}: when: it can never exist, for no value of {parent} fits all that it hangs on. It can be: {told(found[parent])}."
            for path in found
            for parent, values in needs([path], found).items()
            if not values
        ]
    if problems:
        raise OptionError(problems)
    parsed = []
    for number, text in enumerate(constraints):
        try:
            parsed.append(parse_constraint(text, list(found), number))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    return Space(_parents_first(found), tuple(parsed))


def _dimension(path: str, spec: Any) -> Dimension:
    kinds = [key for key in spec if key not in OPTIONS] if isinstance(spec, dict) else []
    if len(kinds) != 1:
        raise UserError(f"{path}: write one of {{{'|'.join(KINDS)}: [...]}}, with {' and '.join(OPTIONS)} if needed; {spec!r} was given.")
    kind, values = str(kinds[0]), spec[kinds[0]]
    if kind not in KINDS:
        raise UserError(f"{path}: {unknown('distribution', kind, (*KINDS, *OPTIONS))}")
    if not isinstance(values, list) or not values:
        raise UserError(f"{path}: {kind} needs a list; {values!r} was given.")
    when = _when(path, spec.get("when"))
    if kind == "choice":
        if "step" in spec:
            raise UserError(f"{path}: step is for numbers, and a choice lists its values. Take step out.")
        return Dimension(kind, choices=tuple(values), when=when)
    low, high = _bounds(path, kind, values)
    return Dimension(kind, low, high, step=_step(path, kind, spec.get("step"), high - low), when=when)


def _bounds(path: str, kind: str, values: list[Any]) -> tuple[float, float]:
    try:
        low, high = (float(v) for v in values)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{path}: {kind} needs two numbers [low, high]; {values!r} was given.") from None
    if not low < high or math.isinf(high - low):
        raise UserError(f"{path}: {kind} needs finite low < high; {values!r} was given.")
    if kind.startswith("log") and low <= 0:
        raise UserError(f"{path}: {kind} needs low > 0; {values!r} was given.")
    if kind.endswith("int") and (low % 1 or high % 1):
        raise UserError(f"{path}: {kind} needs whole numbers; {values!r} was given.")
    return low, high


def _step(path: str, kind: str, step: Any, width: float) -> float | None:
    if step is None:
        return None
    if kind.startswith("log"):
        raise UserError(f"{path}: step goes with uniform and int; {kind} has none. List the values as a choice.")
    if isinstance(step, bool) or not isinstance(step, int | float) or not 0 < step <= width or (kind == "int" and step % 1):
        raise UserError(f"{path}: step must be a {'whole ' if kind == 'int' else ''}number above 0, at most {width:g}; {step!r} was given.")
    return float(step)


def _when(path: str, when: Any) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    if when is None:
        return ()
    if not isinstance(when, dict) or not when or [] in when.values():
        raise UserError(f"{path}: when is written as {{path: value}} or {{path: [values]}}; {when!r} was given.")
    return tuple((str(parent), tuple(values) if isinstance(values, list) else (values,)) for parent, values in when.items())


def _when_problems(path: str, dimension: Dimension, found: dict[str, Dimension]) -> list[str]:
    problems = []
    for parent, values in dimension.when:
        if parent not in found:
            problems.append(f"{path}: when: {unknown('searched path', parent, [p for p in found if p != path])}")
        elif path in (circle := _ancestors(path, found)):
            problems.append(f"{path}: when: it depends on itself, through {' and '.join(sorted(circle))}. Break the circle.")
        elif not (found[parent].kind == "choice" or found[parent].whole or found[parent].step):
            problems.append(f"{path}: when: {parent} is any number between two, never exactly one value. Give it a step, or list a choice.")
        elif strange := [v for v in values if not _can_be(found[parent], v)]:
            problems.append(f"{path}: when: {parent} never is {', '.join(map(str, strange))}. It can be: {told(found[parent])}.")
    return problems


def _can_be(dimension: Dimension, value: Any) -> bool:
    return dimension.holds(value) or any(matches(choice, value) for choice in dimension.choices)


def _before(path: str, found: dict[str, Dimension]) -> list[str]:
    """The paths that must have a value before `path` has one: those it depends on, and those above it."""
    return [other for other in found if path.startswith(other + ".") or any(other == parent for parent, _ in found[path].when)]


def _ancestors(path: str, found: dict[str, Dimension]) -> set[str]:
    """The paths whose values decide about `path`, directly or through others."""
    seen: set[str] = set()
    waiting = _before(path, found)
    while waiting:
        if (parent := waiting.pop()) not in seen:
            seen.add(parent)
            waiting += _before(parent, found)
    return seen


def _parents_first(found: dict[str, Dimension]) -> dict[str, Dimension]:
    """The same dimensions; one that decides about another, or whose path is above it, comes first."""
    out: dict[str, Dimension] = {}

    def place(path: str) -> None:
        if path not in out:
            for other in _before(path, found):
                place(other)
            out[path] = found[path]

    for path in found:
        place(path)
    return out
