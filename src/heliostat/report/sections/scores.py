"""Every model's scores, with their intervals."""

from __future__ import annotations

from typing import ClassVar

from heliostat.artifacts import Interval, ModelScores
from heliostat.report.charts import Dot, intervals
from heliostat.report.evidence import Evidence
from heliostat.report.markup import Cell, Column, figure, figures, lead, model_mark, plain, table
from heliostat.report.sections.base import Base
from heliostat.report.verdict import DOMAIN, compare
from heliostat.report.wording import ABSENT, esc, millions, millis, p_value, plural, score, size, words


class Scores(Base):
    """Domain and general scores, latency and size of all models, and whether the differences are more than chance."""

    title: ClassVar[str] = "Scores"
    order: ClassVar[int] = 20

    def render(self, evidence: Evidence) -> str:
        rows = evidence.corpus.rows.get("test", 0)
        base = " The dashed line is the base." if evidence.base_model and evidence.base_model.scores else ""
        told = (
            f"Each model is scored on the same {plural(rows, 'test row') if rows else 'test rows'}. A dot is the value, its line the "
            f"95 % interval: models whose lines overlap widely are hard to tell apart.{base}"
        )
        return lead(told) + figures(_charts(evidence)) + _table(evidence) + _pairs(evidence)


def _charts(evidence: Evidence) -> list[str]:
    out = []
    for suite in [DOMAIN, *evidence.suites]:
        for metric in evidence.metrics(suite):
            if suite != DOMAIN and metric != evidence.metrics(suite)[0]:
                continue
            found = [(m, m.scores[suite][metric]) for m in evidence.models if metric in m.scores.get(suite, {})]
            usable = [(m, i) for m, i in found if i.value == i.value]
            if not usable:
                continue
            dots = [Dot(m.name, i.value, i.low, i.high, evidence.colours[m.name], score(i.value)) for m, i in usable]
            reference = next((i.value for m, i in usable if m is evidence.base_model), None)
            title = f"{words(metric)}, {'domain' if suite == DOMAIN else suite}"
            out.append(figure(intervals(dots, title=title, tell=lambda v: f"{v:.3g}", reference=reference), title[:1].upper() + title[1:]))
    return out


def _table(evidence: Evidence) -> str:
    scored = [(suite, metric) for suite in [DOMAIN, *evidence.suites] for metric in evidence.metrics(suite)]
    columns = [Column("model", numeric=False)]
    columns += [Column(words(metric), group=suite) for suite, metric in scored]
    columns += [Column(name, group="cost") for name in ("latency", "size")]
    rows = [_row(m, evidence, scored) for m in evidence.models]
    marked = [i for i, m in enumerate(evidence.models) if m.name == evidence.verdict.ship]
    return table(columns, rows, caption="All models. The shipped one is set off.", marked=marked)


def _row(model: ModelScores, evidence: Evidence, scored: list[tuple[str, str]]) -> list[Cell]:
    cells = [Cell(model_mark(model.name, evidence.colours[model.name]), model.name, esc(model.stage))]
    cells += [_score(model.scores.get(suite, {}).get(metric)) for suite, metric in scored]
    slow = f"p99 {millis(model.latency_ms['p99'])}" if "p99" in model.latency_ms else ""
    cells.append(plain(millis(model.latency_ms.get("p50")), model.latency_ms.get("p50", ""), slow))
    cells.append(
        plain(size(model.bytes) if model.bytes else ABSENT, model.bytes, f"{millions(model.params)} params" if model.params else "")
    )
    return cells


def _score(found: Interval | None) -> Cell:
    if found is None or found.value != found.value:
        return plain(ABSENT, "")
    return plain(score(found.value), found.value, f"{score(found.low)}–{score(found.high)}")


def _pairs(evidence: Evidence) -> str:
    """The shipped model against each other one, on the rows where exactly one of the two is right."""
    ship = evidence.verdict.ship
    rows = []
    for model in evidence.models:
        paired = compare(model.name, ship, evidence.right)
        if paired is None:
            continue
        reading = "a real difference" if paired.significant else "not significant"
        rows.append(
            [
                Cell(model_mark(model.name, evidence.colours[model.name]), model.name),
                plain(f"{paired.only_first:,}", paired.only_first),
                plain(f"{paired.only_second:,}", paired.only_second),
                plain(p_value(paired.p), paired.p),
                plain(reading),
            ]
        )
    if not rows:
        return ""
    columns = [
        Column("model", numeric=False),
        Column("only it is right"),
        Column(f"only {ship} is right"),
        Column("chance"),
        Column("reading", numeric=False),
    ]
    note = "Exact McNemar test on the test rows; below p = 0.05 a difference counts as real."
    return f"<h3>Is the difference real?</h3>{table(columns, rows, caption=note)}"
