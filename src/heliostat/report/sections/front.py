"""Which trials are not beaten in everything at once."""

from __future__ import annotations

from typing import ClassVar

from heliostat.artifacts import Sweep, Trial
from heliostat.report.axes import Axis
from heliostat.report.charts import Point, scatter
from heliostat.report.evidence import Evidence
from heliostat.report.markup import Column, figure, figures, lead, plain, table
from heliostat.report.sections.base import Base
from heliostat.report.trials import WINNER, is_logarithmic, ranked, sample, short, tail, varied, winner
from heliostat.report.wording import listed, score, setting, size, words

MAX_POINTS = 400
MAX_LABELS = 8


class Front(Base):
    """The metric against each objective of the sweep, and the trials on the Pareto front."""

    title: ClassVar[str] = "Pareto front"
    order: ClassVar[int] = 43

    def render(self, evidence: Evidence) -> str:
        sweep = evidence.sweep
        if sweep is None or not sweep.objectives or not sweep.front:
            return ""
        goals = listed([words(sweep.metric), *map(words, sweep.objectives)])
        are = "trial of" if len(sweep.front) == 1 else "trials of"
        told = (
            f"On the front: {len(sweep.front):,} {are} {len(sweep.trials):,}. No other one is at least as good in {goals} "
            "and better in one of them. Which of these to take is a matter of taste."
        )
        charts = [c for c in (_chart(sweep, name) for name in sweep.objectives) if c]
        return lead(told) + figures(charts) + _table(sweep)


def corner(trials: list[Trial], name: str, *, metric: str, objective: str) -> list[tuple[float, float]]:
    """(objective, metric) of the trials that no other one beats in these two, along the front; `metric` and `objective` are modes."""
    up, across = (1 if metric == "max" else -1), (1 if objective == "max" else -1)
    points = [(t.objectives[name], t.best) for t in trials if t.best is not None and name in t.objectives]
    chosen: list[tuple[float, float]] = []
    for x, y in sorted(set(points), key=lambda p: (-up * p[1], -across * p[0])):
        if not chosen or across * x > across * chosen[-1][0]:
            chosen.append((x, y))
    return chosen


def amount(name: str, value: float) -> str:
    """An objective's number; bytes in their units."""
    return size(value) if name == "bytes" or name.endswith("_bytes") else f"{value:.4g}"


def _chart(sweep: Sweep, name: str) -> str:
    able = [t for t in ranked(sweep) if name in t.objectives]
    on_front, best = set(sweep.front), winner(sweep)
    drawn = [t for t in sample(able, MAX_POINTS) if t.number not in on_front] + [t for t in able if t.number in on_front]
    if len(drawn) < 2:
        return ""
    few = len(on_front) <= MAX_LABELS
    points = []
    for trial in drawn:
        first = trial.number in on_front
        colour = WINNER if trial is best else "var(--m2)" if first else "var(--faint)"
        tip = f"trial {trial.number}: {words(sweep.metric)} {score(trial.best)}, {words(name)} {amount(name, trial.objectives[name])}"
        label = str(trial.number) if (first and few) or trial is best else ""
        points.append(Point(label, trial.objectives[name], float(trial.best or 0.0), colour, tip, 5.0 if first or trial is best else 3.0))
    log = is_logarithmic([p.x for p in points])
    better = "more" if sweep.objectives[name] == "max" else "less"
    x = Axis(f"{words(name)}, {better} is better{' (log scale)' if log else ''}", lambda v: amount(name, v), log)
    joined = corner(able, name, metric=sweep.mode, objective=sweep.objectives[name])
    title = f"{words(sweep.metric).capitalize()} against {words(name)}"
    chart = scatter(points, x=x, y=Axis(words(sweep.metric), short), title=title, joined=joined)
    return figure(chart, f"{title}. The line joins the front of these two; the winner has the colour of the sun.")


def _table(sweep: Sweep) -> str:
    trials = {t.number: t for t in sweep.trials}
    rows = [trials[number] for number in sweep.front if number in trials]
    paths = varied(sweep)[:4]
    columns = [Column("trial"), Column(words(sweep.metric)), *(Column(words(n), group="objectives") for n in sweep.objectives)]
    columns += [Column(tail(p, paths), group="settings") for p in paths]
    best = winner(sweep)
    cells = [
        [
            plain(str(t.number), t.number),
            plain(score(t.best), t.best if t.best is not None else ""),
            *(plain(amount(n, t.objectives[n]), t.objectives[n]) if n in t.objectives else plain("–", "") for n in sweep.objectives),
            *(plain(setting(t.settings[p]) if p in t.settings else "–") for p in paths),
        ]
        for t in rows
    ]
    marked = [i for i, t in enumerate(rows) if t is best]
    return table(columns, cells, caption="The front, best metric first.", marked=marked, tall=len(cells) > 25)
