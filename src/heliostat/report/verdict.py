"""Which model to ship, and why: pure functions from scores to a decision.

Every model but the base is a candidate. The smallest one (by bytes, then by latency) that keeps (1 - `max_domain_loss`)
of the best domain score and passes the gates is shipped. When no model near the best passes, the best-scoring one that
does pass is; when none passes at all, the best-scoring model is named, and its failed gates with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from heliostat.artifacts import Gate, Interval, ModelScores
from heliostat.core.errors import RunFailed
from heliostat.report.config import COSTS, GateConfig, ReportConfig
from heliostat.report.direction import mode_of
from heliostat.report.significance import Paired, mcnemar
from heliostat.report.wording import change, listed, millis, p_value, percent, score, words

DOMAIN = "domain"
Mode = Literal["max", "min"]


@dataclass(frozen=True)
class Metric:
    """The metric that ranks models on the domain."""

    name: str
    mode: Mode = "max"

    def better(self, a: float, b: float) -> bool:
        return a > b if self.mode == "max" else a < b

    def near(self, value: float, best: float, loss: float) -> bool:
        """Whether `value` is within the share `loss` of `best`."""
        return value >= best - loss * abs(best) if self.mode == "max" else value <= best + loss * abs(best)


@dataclass(frozen=True)
class Verdict:
    """The decision."""

    ship: str
    best: str
    """The model with the best domain score."""
    because: str
    gates: tuple[Gate, ...]

    @property
    def passed(self) -> bool:
        return all(g.passed for g in self.gates)


@dataclass(frozen=True)
class Change:
    """How one model moved against the base on one general suite."""

    suite: str
    metric: str
    before: float
    after: float

    @property
    def delta(self) -> float:
        return self.after - self.before

    @property
    def gain(self) -> float:
        """The change so that more is better."""
        return self.delta if mode_of(self.metric) == "max" else -self.delta


def judge(
    models: Sequence[ModelScores], *, base: ModelScores | None, metric: Metric, config: ReportConfig, right: Mapping[str, np.ndarray]
) -> Verdict:
    """The verdict on `models` (the base not among them); `right` holds, where known, which test rows each answered correctly."""
    scored = {m.name: value for m in models if (value := domain_value(m, metric.name)) is not None}
    if not scored:
        raise RunFailed(f"No model has the domain metric '{metric.name}', so none can be judged. Check evaluate's scores for NaN.")
    candidates = [m for m in models if m.name in scored]
    best = min(candidates, key=lambda m: -scored[m.name] if metric.mode == "max" else scored[m.name])
    gates = {m.name: tuple(check(gate, m, base) for gate in config.gates) for m in candidates}
    passing = [m for m in candidates if all(g.passed for g in gates[m.name])]
    near = [m for m in passing if metric.near(scored[m.name], scored[best.name], config.max_domain_loss)]
    if near:
        ship = min(near, key=_weight)
    elif passing:
        ship = min(passing, key=lambda m: -scored[m.name] if metric.mode == "max" else scored[m.name])
    else:
        ship = best
    paired = compare(ship.name, best.name, right)
    because = explain(ship, best=best, base=base, metric=metric, paired=paired, alone=len(candidates) == 1)
    return Verdict(ship.name, best.name, because + _caveat(ship, near, passing, gates[ship.name]), gates[ship.name])


def check(gate: GateConfig, model: ModelScores, base: ModelScores | None) -> Gate:
    """One gate on `model`; a value that is not there fails it."""
    value = value_of(model, gate.suite, gate.metric)
    owner = "" if gate.metric in COSTS else f"{gate.suite} "
    if gate.max_drop is not None:
        before = value_of(base, gate.suite, gate.metric) if base else None
        lower_is_better = gate.metric in COSTS or mode_of(gate.metric) == "min"
        drop = None if value is None or before is None else (value - before if lower_is_better else before - value)
        held = drop is not None and drop <= gate.max_drop
        return Gate(name=f"{owner}{gate.metric} max_drop", limit=gate.max_drop, value=drop, passed=held)
    if gate.min is not None:
        return Gate(name=f"{owner}{gate.metric} min", limit=gate.min, value=value, passed=value is not None and value >= gate.min)
    assert gate.max is not None
    return Gate(name=f"{owner}{gate.metric} max", limit=gate.max, value=value, passed=value is not None and value <= gate.max)


def value_of(model: ModelScores, suite: str, metric: str) -> float | None:
    """A score or a cost of `model`; None when it was not measured."""
    if metric.startswith("latency_ms_"):
        return model.latency_ms.get(metric.removeprefix("latency_ms_"))
    if metric in COSTS:
        return float(getattr(model, metric))
    found = model.scores.get(suite, {}).get(metric)
    return None if found is None or found.value != found.value else found.value


def domain_value(model: ModelScores, metric: str) -> float | None:
    return value_of(model, DOMAIN, metric)


def domain_interval(model: ModelScores, metric: str) -> Interval | None:
    return model.scores.get(DOMAIN, {}).get(metric)


def general_changes(model: ModelScores, base: ModelScores | None, metric: str) -> list[Change]:
    """What `model` kept of the base's general scores: `metric` of each suite, or the suite's first one."""
    out: list[Change] = []
    for suite, metrics in model.scores.items():
        if suite == DOMAIN or not metrics or base is None:
            continue
        chosen = metric if metric in metrics else next(iter(metrics))
        before, after = value_of(base, suite, chosen), value_of(model, suite, chosen)
        if before is not None and after is not None:
            out.append(Change(suite, chosen, before, after))
    return out


def compare(first: str, second: str, right: Mapping[str, np.ndarray]) -> Paired | None:
    """The paired test of two models; None for a model with itself or when answers are not known."""
    if first == second or first not in right or second not in right:
        return None
    return mcnemar(right[first], right[second])


def explain(ship: ModelScores, *, best: ModelScores, base: ModelScores | None, metric: Metric, paired: Paired | None, alone: bool) -> str:
    """One plain sentence with the numbers."""
    mine, top = domain_value(ship, metric.name), domain_value(best, metric.name)
    assert mine is not None
    assert top is not None
    if alone:
        parts = [f"it is the only model there is; its {words(metric.name)} on the domain is {score(mine)}"]
    elif ship.name == best.name:
        parts = [f"it has the best {words(metric.name)} on the domain, {score(mine)}"]
    else:
        share = f", {percent(mine / top)} of" if top > 0 and metric.mode == "max" else ", against"
        doubt = f"; the difference is {'' if paired.significant else 'not '}significant, {p_value(paired.p)}" if paired else ""
        small = f", at {percent(ship.bytes / best.bytes)} of its size" if best.bytes and ship.bytes else ""
        parts = [f"its {words(metric.name)} on the domain is {score(mine)}{share} the best ({best.name}, {score(top)}{doubt}){small}"]
    if "p50" in ship.latency_ms:
        before = f" instead of {millis(best.latency_ms['p50'])}" if ship.name != best.name and "p50" in best.latency_ms else ""
        parts.append(f"a row takes {millis(ship.latency_ms['p50'])}{before}")
    return "; ".join([*parts, *_against_base(ship, base, metric)]) + "."


def _against_base(ship: ModelScores, base: ModelScores | None, metric: Metric) -> list[str]:
    if base is None:
        return []
    before, after = domain_value(base, metric.name), domain_value(ship, metric.name)
    told: list[str] = []
    if before is not None and after is not None:
        told.append(f"{change(after - before)} on the domain")
    changes = general_changes(ship, base, metric.name)
    if changes:
        worst = min(changes, key=lambda c: c.gain)
        more = "" if len(changes) == 1 else f", the lowest of {len(changes)} suites"
        told.append(f"{change(worst.delta)} on general ground ({worst.suite}{more})")
    return [f"against the base it moved {listed(told)}"] if told else []


def _caveat(ship: ModelScores, near: Sequence[ModelScores], passing: Sequence[ModelScores], gates: Sequence[Gate]) -> str:
    if near:
        return ""
    if passing:
        return " Models that score higher fail a gate."
    failed = [f"{g.name} {g.limit:.4g} ({'not measured' if g.value is None else f'it is {g.value:.4g}'})" for g in gates if not g.passed]
    return f" No model passes every gate; this one fails {listed(failed)}."


def _weight(model: ModelScores) -> tuple[float, float]:
    return (model.bytes or float("inf"), model.latency_ms.get("p50", float("inf")))
