"""What a sweep ranks trials by: its metric, and the objectives that are weighed or limited. Pure functions over numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from heliostat.artifacts import Scores, Trial
from heliostat.core.errors import RunFailed
from heliostat.tune.objectives.general import General

BEYOND = -1e12
"""The value of a trial just beyond a limit: below every allowed one, whatever the metric's unit is."""


@dataclass(frozen=True)
class SuiteObjective:
    """A suite of `evaluate.general`, measured on a training in a gang."""

    name: str
    suite: Any
    metric: str
    seed: int

    def label(self) -> str:
        return self.name

    def measure(self, live: Any) -> float:
        return self.suite.score(live, engine=live, task=live.task, seed=self.seed, resamples=1)[self.metric].value


@dataclass(frozen=True)
class Weighed:
    """One objective: what measures it, and what its number does to the value."""

    measured: Any
    mode: Literal["max", "min"]
    weight: float | None
    limit: float | None

    @property
    def decides(self) -> bool:
        """Whether it has a part in the ranking, and not only in the Pareto front."""
        return self.weight is not None or self.limit is not None

    def gain(self, number: float) -> float:
        """What the number adds to the sweep's value."""
        sign = 1.0 if self.mode == "max" else -1.0
        return sign * (self.weight or 0.0) * number

    def beyond(self, number: float) -> float:
        """How far it is beyond the limit; 0 within it."""
        if self.limit is None:
            return 0.0
        return max(0.0, self.limit - number if self.mode == "max" else number - self.limit)


@dataclass(frozen=True)
class Weighing:
    """A sweep's metric and objectives."""

    mode: Literal["max", "min"]
    objectives: dict[str, Weighed]

    def value(self, metric: float, numbers: dict[str, float]) -> float:
        """What trials are ranked by, larger is better; beyond a limit the value is below every allowed one."""
        beyond = self.beyond(numbers)
        return BEYOND * (1.0 + beyond) if beyond else self.weighed(metric, numbers)

    def weighed(self, metric: float, numbers: dict[str, float]) -> float:
        """The value, limits left out."""
        return (metric if self.mode == "max" else -metric) + sum(o.gain(numbers[name]) for name, o in self.objectives.items())

    def beyond(self, numbers: dict[str, float]) -> float:
        """How far it is beyond limits, all together; 0 within them."""
        return sum(o.beyond(numbers[name]) for name, o in self.objectives.items())

    @property
    def deciding(self) -> Weighing:
        """The same without the objectives that have neither a weight nor a limit."""
        return replace(self, objectives={name: o for name, o in self.objectives.items() if o.decides})

    @property
    def directions(self) -> dict[str, Literal["max", "min"]]:
        return {name: o.mode for name, o in self.objectives.items()}

    @property
    def measured(self) -> tuple[Any, ...]:
        """What a gang measures."""
        return tuple(o.measured for o in self.objectives.values())


def weighing(mode: Literal["max", "min"], objectives: Sequence[Any], suites: dict[str, Any], base: Scores | None, seed: int) -> Weighing:
    """The objectives of a config, with the suites they name and limits as absolute numbers."""
    found: dict[str, Weighed] = {}
    for objective in objectives:
        measured, limit = objective, objective.limit
        if isinstance(objective, General):
            objective = objective.resolved(suites)
            measured = SuiteObjective(objective.label(), suites[cast(str, objective.suite)], cast(str, objective.metric), seed)
            limit = _floor(objective, base)
        found[objective.label()] = Weighed(measured, objective.mode, objective.weight, limit)
    return Weighing(mode, found)


def _floor(objective: General, base: Scores | None) -> float | None:
    """The lowest general score allowed: the stricter of `limit` and the base's score less `max_drop`."""
    if objective.max_drop is None:
        return objective.limit
    scores = base.of("base") if base else None
    known = scores.scores.get(str(objective.suite), {}).get(str(objective.metric)) if scores else None
    if known is None:
        raise RunFailed(f"tune.objectives: the base model has no score for {objective.label()}; use limit instead of max_drop.")
    floor = known.value - objective.max_drop
    return floor if objective.limit is None else max(floor, objective.limit)


def front(trials: Sequence[Trial], weighing: Weighing) -> tuple[int, ...]:
    """Numbers of the trials that no other one beats in the metric and every objective at once, best metric first."""
    points = []
    for trial in trials:
        if trial.best is not None and trial.state != "failed":
            numbers = [trial.best if weighing.mode == "max" else -trial.best]
            numbers += [trial.objectives[n] if o.mode == "max" else -trial.objectives[n] for n, o in weighing.objectives.items()]
            points.append((numbers, trial.number))
    points.sort(key=lambda p: ([-x for x in p[0]], p[1]))
    chosen: list[tuple[list[float], int]] = []
    for numbers, number in points:  # in this order nothing that comes later beats what came before in every number
        if not any(all(a >= b for a, b in zip(other, numbers, strict=True)) and other != numbers for other, _ in chosen):
            chosen.append((numbers, number))
    return tuple(number for _, number in chosen)
