"""Which settings decided."""

from __future__ import annotations

from typing import ClassVar

from heliostat.artifacts import Sweep, Trial
from heliostat.report.axes import Axis
from heliostat.report.charts import Bar, Point, bars, scatter
from heliostat.report.evidence import Evidence
from heliostat.report.markup import figure, figures, lead
from heliostat.report.sections.base import Base
from heliostat.report.trials import STATES, WINNER, Ruler, ruler, sample, short, tail, varied, winner
from heliostat.report.wording import percent, plural, score, setting, words

MAX_BARS = 16
MAX_PANELS = 6
MAX_POINTS = 400
MAX_LABELS = 30
GOLDEN = 0.618034


class Importance(Base):
    """How much each setting decided, and the metric by setting."""

    title: ClassVar[str] = "What mattered"
    order: ClassVar[int] = 41

    def render(self, evidence: Evidence) -> str:
        sweep = evidence.sweep
        paths = varied(sweep) if sweep else []
        if sweep is None or not paths:
            return ""
        panels = [p for p in (_panel(sweep, evidence, path) for path in paths) if p][:MAX_PANELS]
        if sweep.importance:
            return lead(_said(sweep)) + figures([_bars(sweep), *panels])
        few = lead("Too few trials, or too little difference between them, to say which setting mattered.")
        return few + figures(panels) if panels else ""


def _said(sweep: Sweep) -> str:
    path, share = next(iter(sweep.importance.items()))
    return (
        f"{path} decided most: {percent(share)} of what set the best quarter of the trials apart from all of them. "
        "A share says that a setting mattered, not which value is best; the charts show that."
    )


def _bars(sweep: Sweep) -> str:
    paths = list(sweep.importance)
    rows = [
        Bar(tail(path, paths), ((share, WINNER if i == 0 else "var(--m1)", f"{path}: {percent(share)}"),), percent(share))
        for i, (path, share) in enumerate(list(sweep.importance.items())[:MAX_BARS])
    ]
    more = f" The {MAX_BARS} most important of {len(paths)}." if len(paths) > MAX_BARS else ""
    return figure(bars(rows, title="Importance of the settings"), f"Share of what decided (PED-ANOVA).{more}")


def _panel(sweep: Sweep, evidence: Evidence, path: str) -> str:
    tried = [t for t in sweep.trials if t.best is not None and path in t.settings]
    if len(tried) < 2 or len({setting(t.settings[path]) for t in tried}) < 2:
        return ""
    own = ruler(path, evidence)
    best = winner(sweep)
    few = len(tried) <= MAX_LABELS
    drawn = sample(sorted(tried, key=lambda t: -(t.value or 0.0)), MAX_POINTS)
    points = [_point(trial, path, own, best=trial is best, few=few) for trial in drawn]
    points.sort(key=lambda p: p.colour == WINNER)
    title = f"Best {words(sweep.metric)} by {path}"
    share = f" ({percent(sweep.importance[path])})" if path in sweep.importance else ""
    absent = sum(path not in t.settings for t in sweep.trials)
    said = (" Numbers are trials." if few else "") + (f" In {plural(absent, 'trial')} it is not there." if absent else "")
    chart = scatter(points, x=own.axis, y=Axis(words(sweep.metric), short), title=title, height=230.0)
    return figure(chart, f"{title}{share}.{said}")


def _point(trial: Trial, path: str, own: Ruler, *, best: bool, few: bool) -> Point:
    aside = (trial.number * GOLDEN % 1 - 0.5) * 0.5 if own.axis.names and not few else 0.0  # so that equal settings do not hide each other
    place = own.place(trial.settings[path]) + aside
    tip = f"trial {trial.number}: {path} {setting(trial.settings[path])}, {score(trial.best)}"
    colour = WINNER if best else STATES[trial.state]
    label = str(trial.number) if few or best else ""
    return Point(label, place, float(trial.best or 0.0), colour, tip, 5.0 if few or best else 3.0)
