"""How far answers are from the numbers they estimate."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from heliostat.report.axes import Axis
from heliostat.report.charts import Bar, Point, bars, scatter
from heliostat.report.evidence import Evidence
from heliostat.report.judged import Judged, inputs, item, judged
from heliostat.report.markup import figure, figures, lead, model_mark
from heliostat.report.sections.base import Base
from heliostat.report.wording import esc

MOST_POINTS = 400
SHARES = (0.5, 0.9, 0.99)


class Estimates(Base):
    """Answers against the true numbers, how far most of them are off, and the rows with the largest errors."""

    title: ClassVar[str] = "Estimates"
    order: ClassVar[int] = 53

    def render(self, evidence: Evidence) -> str:
        ground = judged(evidence, "numbers")
        if ground is None:
            return ""
        ship = evidence.verdict.ship
        off_N = np.abs(_said(ground, ship) - ground.targets)
        half, most = np.quantile(off_N, (0.5, 0.9))
        told = f"Half of the answers of {ship} are within {number(half)} of the true number, and 9 of 10 within {number(most)}."
        told += f" The true numbers lie between {number(ground.targets.min())} and {number(ground.targets.max())}."
        return lead(told) + figures([_agreement(ground, ship), _errors(ground, evidence)]) + _rows(ground, off_N, evidence)


def number(value: float) -> str:
    """A number with four significant digits."""
    return f"{float(value):,.4g}".replace("-", "\u2212")


def _said(ground: Judged, model: str) -> np.ndarray:
    return ground.answers[model][:, 0]


def _agreement(ground: Judged, ship: str) -> str:
    """A dot per row; on the line an answer is right."""
    rows = len(ground.targets)
    chosen = np.arange(rows) if rows <= MOST_POINTS else np.linspace(0, rows - 1, MOST_POINTS).round().astype(int)
    said_N = _said(ground, ship)
    points = [
        Point(
            "", float(ground.targets[i]), float(said_N[i]), "var(--ship)", f"is {number(ground.targets[i])}, said {number(said_N[i])}", 2.5
        )
        for i in chosen
    ]
    low, high = float(min(ground.targets.min(), said_N.min())), float(max(ground.targets.max(), said_N.max()))
    corners = [Point("", end, end, "transparent", "", 0.1) for end in (low, high)]  # both axes show the same range
    chart = scatter(
        [*points, *corners], x=Axis("true number", number), y=Axis("answer", number), title="Answers", joined=[(low, low), (high, high)]
    )
    cut = f" {MOST_POINTS} of {rows:,} rows are shown." if rows > MOST_POINTS else ""
    return figure(chart, f"Answers of {ship} against the true numbers; on the line an answer is right.{cut}")


def _errors(ground: Judged, evidence: Evidence) -> str:
    """How far each model is off, for shares of the rows."""
    rows = []
    for name in (evidence.verdict.ship, *ground.others(evidence.verdict.ship)):
        off_N = np.abs(_said(ground, name) - ground.targets)
        for share in SHARES:
            value = float(np.quantile(off_N, share))
            label = f"{name}, {100 * share:g} %"
            rows.append(Bar(label, ((value, evidence.colours[name], f"{label}: within {number(value)}"),), number(value)))
    return figure(bars(rows, title="Errors"), "Within how much of the true number so many of the answers are")


def _rows(ground: Judged, off_N: np.ndarray, evidence: Evidence) -> str:
    ship = evidence.verdict.ship
    chosen = np.argsort(-off_N, kind="stable")[: evidence.config.hardest]
    if not len(chosen):
        return ""
    texts = inputs(evidence, chosen)
    items = []
    for i in (int(row) for row in chosen):
        said = f'<span class="said">said <b>{number(_said(ground, ship)[i])}</b></span>'
        true = f'<span class="true">is <b>{number(ground.targets[i])}</b></span>'
        others = [
            f"<li>{model_mark(name, evidence.colours[name])} {esc(number(_said(ground, name)[i]))}</li>" for name in ground.others(ship)
        ]
        items.append(item(texts.get(i), i, said + true, "".join(others)))
    return f'<h3>Rows with the largest errors</h3><ol class="errors">{"".join(items)}</ol>'
