"""What is given up for what."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from heliostat.artifacts import Interval, ModelScores
from heliostat.report.axes import Axis
from heliostat.report.charts import Point, scatter
from heliostat.report.evidence import Evidence
from heliostat.report.markup import figure, figures, lead
from heliostat.report.sections.base import Base
from heliostat.report.verdict import domain_interval
from heliostat.report.wording import millis, score, size, words


class Tradeoff(Base):
    """Domain score against general score, latency and size."""

    title: ClassVar[str] = "Trade-offs"
    order: ClassVar[int] = 30

    def render(self, evidence: Evidence) -> str:
        charts = [_general(evidence, suite) for suite in evidence.suites] + [_latency(evidence), _size(evidence)]
        shown = [c for c in charts if c]
        if not shown:
            return ""
        general = " Right of the base a model gained general ability, left of it it lost some." if evidence.suites else ""
        better = "Higher" if evidence.metric.mode == "max" else "Lower"
        return lead(f"{better} is better on the domain.{general}") + figures(shown)


def _usable(found: Interval | None) -> bool:
    return found is not None and found.value == found.value


def _general(evidence: Evidence, suite: str) -> str:
    metric = evidence.metrics(suite)[0] if evidence.metrics(suite) else ""
    points = []
    for model in evidence.models:
        up, across = domain_interval(model, evidence.metric.name), model.scores.get(suite, {}).get(metric)
        if up is None or across is None or not (_usable(up) and _usable(across)):
            continue
        tip = f"{model.name}: domain {score(up.value)}, {suite} {score(across.value)}"
        spread = {"x_low": across.low, "x_high": across.high, "y_low": up.low, "y_high": up.high}
        points.append(Point(model.name, across.value, up.value, evidence.colours[model.name], tip, **spread))
    if len(points) < 2:
        return ""
    name = f"Domain against {suite}"
    chart = scatter(points, x=Axis(f"{suite}, {words(metric)}", short), y=_up(evidence), title=name)
    return figure(chart, f"{name}. Lines are 95 % intervals.")


def _latency(evidence: Evidence) -> str:
    chart = _cost(evidence, "Domain against latency", Axis("latency p50, ms"), lambda m: m.latency_ms.get("p50"))
    return figure(chart, "Domain against latency. The area of a dot is the model's size.") if chart else ""


def _size(evidence: Evidence) -> str:
    chart = _cost(evidence, "Domain against size", Axis("size, MB"), lambda m: m.bytes / 1e6 if m.bytes else None)
    return figure(chart, "Domain against size.") if chart else ""


def _cost(evidence: Evidence, title: str, axis: Axis, cost: Callable[[ModelScores], float | None]) -> str:
    largest = max((m.bytes for m in evidence.models), default=0) or 1
    points = []
    for model in evidence.models:
        up, price = domain_interval(model, evidence.metric.name), cost(model)
        if up is None or not _usable(up) or not price:
            continue
        tip = f"{model.name}: {score(up.value)}, {millis(model.latency_ms.get('p50'))}, {size(model.bytes)}"
        radius = 5.0 if "size" in title else 4 + 14 * (model.bytes / largest) ** 0.5
        points.append(Point(model.name, price, up.value, evidence.colours[model.name], tip, radius))
    if len(points) < 2:
        return ""
    prices = [p.x for p in points]
    log = max(prices) / min(prices) >= 4
    return scatter(points, x=Axis(axis.label + (" (log scale)" if log else ""), axis.tell, log), y=_up(evidence), title=title)


def _up(evidence: Evidence) -> Axis:
    return Axis(f"domain {words(evidence.metric.name)}", short)


def short(value: float) -> str:
    """A tick without needless zeros."""
    return f"{value:.3g}"
