"""What is wrong with what a sweep searches: paths, values, conditions, first points; found by making trials, before any is trained.

Every value of a dimension (of very many, the ends and some between) is tried beside random values of the others that the constraints
allow. A sentence says whether a value is wrong by itself or only beside certain others.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from heliostat.core import seeds
from heliostat.core.errors import UserError
from heliostat.searchable import searchable, why_not
from heliostat.tune.space import TRIED_POINTS, Space, completed, contradictory, matches, needs
from heliostat.tune.trial import Sections, corpus_settings, sections

if TYPE_CHECKING:
    from heliostat.config import RunConfig

MOST_CORPORA = 32
"""Distinct corpora a sweep may have made: each is read, cleaned and kept once."""
MANY_CORPORA = 4096
"""Where counting them ends."""
TOLD_ALIKE = 3
"""Wrong values of a dimension that are told, when their problems differ in nothing but numbers."""
CONTEXTS = 3
"""Random surroundings in which each value is tried."""


def problems(config: RunConfig, of_trial: Callable[[Sections], list[str]]) -> list[str]:
    """Why the space of `config.tune` cannot be searched; `of_trial` says what is wrong with one trial's sections."""
    assert config.tune is not None
    allowed = searchable(config)
    space = config.tune.searched()
    found = [f"tune.space.{path}: {why}" for path in space.dimensions if (why := why_not(path, config, allowed))]
    return found or [*_corpora(space), *(_tight(space) or [*_values(config, space, of_trial), *_first_points(config, space)])]


def _corpora(space: Space) -> list[str]:
    try:
        count = len(corpus_settings(space, most=MANY_CORPORA))
    except UserError as error:
        return [f"tune.space.{problem}" for problem in error.problems]
    if count <= MOST_CORPORA:
        return []
    more = f"more than {MANY_CORPORA:,}" if count > MANY_CORPORA else f"{count:,}"
    return [
        f"tune.space: the values below corpus. make {more} different corpora, and each is read, cleaned and kept."
        f" At most {MOST_CORPORA} are allowed: list fewer values."
    ]


def _tight(space: Space) -> list[str]:
    """Constraints that cannot be worked out, that leave nothing to try, or beside which a dimension never exists."""
    texts = "; ".join(c.text for c in space.constraints)
    tried = f"none of {TRIED_POINTS:,} random settings"
    try:
        if space.constraints and contradictory(space):
            return [f"tune.constraints: {tried} satisfies {texts}. Loosen it, or narrow tune.space to where it holds."]
        hanging = [path for path, dimension in space.dimensions.items() if dimension.when and space.constraints]
        lost = [path for path in hanging if not completed(space, {}, [path])]
    except UserError as error:
        return error.problems
    return [
        f"tune.space.{path}: when: with tune.constraints ({texts}) it never exists: {tried} has it. Change one of the two." for path in lost
    ]


@dataclass
class _Tries:
    """Trials that were made to look at, and what was wrong with them."""

    base: Sections
    space: Space
    of_trial: Callable[[Sections], list[str]]
    rng: np.random.Generator
    wrong: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Problem to the first settings that had it."""

    def __post_init__(self) -> None:
        self.known = set(self.of_trial(self.base))  # problems the config has without the sweep are told elsewhere

    def problems(self, settings: dict[str, Any]) -> list[str]:
        try:
            return [p for p in self.of_trial(sections(self.base, settings)) if p not in self.known]
        except UserError as error:
            return error.problems

    def make(self, path: str, value: Any, turn: int) -> None:
        """Try one value beside random others."""
        for settings in _around(self.space, path, value, turn, self.rng, CONTEXTS):
            for problem in self.problems(settings):
                self.wrong.setdefault(problem, settings)

    def told(self) -> list[str]:
        """One sentence per problem, with the values beside which it came when it is not the value's own."""
        out: list[str] = []
        beside: set[str] = set()
        alike: Counter[tuple[str, str]] = Counter()
        for problem, settings in self.wrong.items():
            place = problem.split(":")[0]
            path = next((p for p in sorted(settings, key=len, reverse=True) if place == p or place.startswith(p + ".")), None)
            kind = str(path), re.sub(r"\d+", "0", problem)
            if path and (alike[kind] >= TOLD_ALIKE or self._always(problem, path, settings[path])):
                alike[kind] += 1
                out += [f"tune.space.{problem}"] if alike[kind] <= TOLD_ALIKE else []
            elif place not in beside:  # one example of what does not go together
                beside.add(place)
                others = {p: v for p, v in settings.items() if p != path and self._helps(problem, settings, p)}
                listed = " and ".join(f"{p} = {v!r}" for p, v in others.items())
                tried = f" So it is beside {listed}: tie the two with `when`, or rule it out in tune.constraints." if listed else ""
                out.append(f"tune.space.{problem}{tried}")
        more = {path: count - TOLD_ALIKE for (path, _), count in alike.items() if count > TOLD_ALIKE}
        advice = "Give it a `step`, or list those that work as a choice."
        return [
            *out,
            *(
                f"tune.space.{path}: {count} more of the values of {path} that were tried are wrong in the same way. {advice}"
                for path, count in more.items()
            ),
        ]

    def _always(self, problem: str, path: str, value: Any) -> bool:
        """Whether the value has this problem whatever stands beside it."""
        return all(problem in self.problems(s) for s in _around(self.space, path, value, 0, self.rng, 4 * CONTEXTS))

    def _helps(self, problem: str, settings: dict[str, Any], path: str) -> bool:
        """Whether another value at `path` mends the problem."""
        dimension = self.space.dimensions[path]
        return any(problem not in self.problems({**settings, path: value}) for value in dimension.examples()[:CONTEXTS])


def _values(config: RunConfig, space: Space, of_trial: Callable[[Sections], list[str]]) -> list[str]:
    """Every value of every dimension is tried beside random values of the others."""
    tries = _Tries(config.sections(), space, of_trial, seeds.rng(config.seed, "checks", "values"))
    for path, dimension in space.dimensions.items():
        for turn, value in enumerate(dimension.examples()):
            tries.make(path, value, turn)
    return tries.told()


def _around(space: Space, path: str, value: Any, turn: int, rng: np.random.Generator, count: int) -> Iterator[dict[str, Any]]:
    """Allowed settings in which `path` exists and has `value`."""
    found = 0
    for attempt in range(count * 20):
        above = {parent: values[(turn + attempt) % len(values)] for parent, values in needs([path], space.dimensions).items()}
        settings = space.at(rng.random(len(space.dimensions)), {path: value, **above})
        if path in settings and space.allows(settings):
            yield settings
            found += 1
        if found == count:
            return


def _first_points(config: RunConfig, space: Space) -> list[str]:
    assert config.tune is not None
    points, trials = config.tune.first_points, config.tune.trials
    found = [f"tune.first_points: {len(points)} points are given for {trials} trials. Raise tune.trials."] if len(points) > trials else []
    for i, point in enumerate(points):
        where = f"tune.first_points.{i}"
        wrong = (
            [f"{where}.{p}" for p in space.problems(point)] if point else [f"{where}: it is empty. Name a searched value, or take it out."]
        )
        found += wrong or [f"{where}{p}" for p in _unfitting(space, point)]
    return found


def _unfitting(space: Space, point: Mapping[str, Any]) -> list[str]:
    """Why a point whose values are all right cannot be tried as it is."""
    for path in point:
        for parent, wanted in space.dimensions[path].when:
            if parent in point and not any(matches(point[parent], value) for value in wanted):
                names = " or ".join(map(str, wanted))
                return [f".{path}: it exists only while {parent} is {names}, and this point has {point[parent]!r}. Take it out."]
    try:
        broken = [c.text for c in space.constraints if all(path in point for _, path in c.names) and not c.holds(point)]
        if broken:
            return [f": it does not satisfy {' and '.join(broken)}. Change the point or the constraint."]
        if completed(space, point):
            return []
        if not completed(replace(space, constraints=()), point):
            return [f": {' and '.join(point)} are never there together, by their `when`. Make two points of it."]
    except UserError as error:
        return [f": {problem}" for problem in error.problems]
    texts = "; ".join(c.text for c in space.constraints)
    return [f": whatever it leaves open, none of {TRIED_POINTS:,} random settings satisfies {texts}. Change the point or the constraint."]
