"""Every trial through all its settings."""

from __future__ import annotations

from typing import ClassVar

from heliostat.artifacts import Sweep, Trial
from heliostat.report.axes import Axis
from heliostat.report.evidence import Evidence
from heliostat.report.markup import figure, lead
from heliostat.report.parallel import Row, Thread, parallel
from heliostat.report.sections.base import Base
from heliostat.report.trials import WINNER, Ruler, ranked, readable, ruler, sample, short, tail, varied, winner
from heliostat.report.wording import score, setting, words

MAX_ROWS = 10
MAX_THREADS = 200
MAX_FAILED = 40
MAX_MARKS = 5
GOLDEN = 0.618034


class Settings(Base):
    """Parallel coordinates: a curve for each trial from setting to setting down to its metric."""

    title: ClassVar[str] = "Settings"
    order: ClassVar[int] = 42

    def render(self, evidence: Evidence) -> str:
        sweep = evidence.sweep
        paths = varied(sweep)[:MAX_ROWS] if sweep else []
        if sweep is None or len(paths) < 2 or len(ranked(sweep)) < 2:
            return ""
        best, order = winner(sweep), ranked(sweep)
        rulers = {path: ruler(path, evidence) for path in paths}
        rows = [_row(path, paths, rulers[path], sweep) for path in paths]
        values = [t.best for t in order if t.best is not None]
        rows.append(Row(Axis(f"best {words(sweep.metric)}", short), readable(values, mode=sweep.mode, many=len(values) > 30), "no result"))
        failed = [t for t in sweep.trials if t.state == "failed"][:MAX_FAILED]
        drawn = sample(order, MAX_THREADS)
        place = {t.number: i / max(1, len(order) - 1) for i, t in enumerate(order)}
        threads = [_thread(t, rulers, "var(--bad)", "faint") for t in failed]
        threads += [_thread(t, rulers, colour(place[t.number]), "faint" if place[t.number] > 0.5 else "") for t in reversed(drawn)]
        threads += [_thread(best, rulers, WINNER, "strong")] if best else []
        chart = parallel(rows, threads, title="Trials through their settings")
        some = f" {len(drawn)} of {len(order):,} trials are drawn." if len(drawn) < len(order) else ""
        said = f"One curve is one trial; the warmer, the better it ranks, and red failed. The strong one won.{some}"
        return lead(_said(sweep, best, paths)) + f'<div class="single">{figure(chart, said)}</div>'


def _said(sweep: Sweep, best: Trial | None, paths: list[str]) -> str:
    if best is None:
        return "What the trials had in common."
    tried = ", ".join(f"{tail(p, paths)} {setting(best.settings[p])}" for p in paths if p in best.settings)
    return f"Trial {best.number} won with {tried}: {words(sweep.metric)} {score(best.best)}."


def _row(path: str, paths: list[str], own: Ruler, sweep: Sweep) -> Row:
    label = tail(path, paths) + (" (log scale)" if own.axis.log else "")
    places = [own.place(t.settings[path]) for t in sweep.trials if path in t.settings]
    few = tuple(sorted(set(places))) if len(set(places)) <= MAX_MARKS else ()
    return Row(Axis(label, own.axis.tell, own.axis.log, own.axis.names), (min(places), max(places)), marks=few)


def _thread(trial: Trial, rulers: dict[str, Ruler], stroke: str, kind: str) -> Thread:
    places: list[float | None] = []
    for path, own in rulers.items():
        if path not in trial.settings:
            places.append(None)
            continue
        aside = (trial.number * GOLDEN % 1 - 0.5) * 0.4 if own.axis.names and kind != "strong" else 0.0
        places.append(own.place(trial.settings[path]) + aside)
    told = f"trial {trial.number}, {trial.state}: {score(trial.best)}"
    return Thread((*places, trial.best if trial.state != "failed" else None), stroke, told, kind)


def colour(place: float) -> str:
    """From the sun's colour for the best (0) over blue to grey for the worst (1), by rank."""
    if place < 0.5:
        return f"color-mix(in oklab, var(--ship) {100 - 200 * place:.0f}%, var(--m1))"
    return f"color-mix(in oklab, var(--m1) {200 - 200 * place:.0f}%, var(--faint))"
