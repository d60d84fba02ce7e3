"""What the sweep tried, and what it saved."""

from __future__ import annotations

from typing import Any, ClassVar

from heliostat.artifacts import Sweep as SweepArtifact
from heliostat.artifacts import Trial
from heliostat.report.axes import Axis
from heliostat.report.charts import Bar, Line, Point, bars, lines, scatter
from heliostat.report.evidence import Evidence
from heliostat.report.markup import Cell, Column, figure, figures, lead, plain, table
from heliostat.report.sections.base import Base
from heliostat.report.wording import ABSENT, esc, excerpt, percent, plural, score, seconds, setting, words

MAX_CURVES = 150
MAX_PANELS = 6
MAX_LABELS = 30
GOLDEN = 0.618034
STATES = {"completed": "var(--m1)", "stopped": "var(--faint)", "failed": "var(--bad)"}


class Sweep(Base):
    """Learning curves, settings against score, the epochs saved by stopping early, and every trial."""

    title: ClassVar[str] = "Sweep"
    order: ClassVar[int] = 40

    def render(self, evidence: Evidence) -> str:
        sweep = evidence.sweep
        if sweep is None or not sweep.trials:
            return ""
        counts = ", ".join(f"{sweep.count(s):,} {s}" for s in STATES if sweep.count(s))
        told = (
            f"{plural(len(sweep.trials), 'trial')} ({counts}) in {seconds(sweep.wall_s)} on {plural(sweep.slots, 'slot')}; "
            f"goodput {percent(sweep.goodput)}: the share of slot time that went into training."
        )
        charts = [_curves(sweep), _saved(sweep), *_panels(sweep)]
        return lead(told) + figures([c for c in charts if c]) + _table(sweep)


def best_trial(sweep: SweepArtifact) -> Trial | None:
    """The trial with the best metric; None when none has one."""
    scored = [t for t in sweep.trials if t.best is not None]
    sign = 1 if sweep.mode == "max" else -1
    return max(scored, key=lambda t: sign * (t.best or 0.0), default=None)


def epochs_spent(sweep: SweepArtifact) -> tuple[float, float]:
    """Epochs that were trained, and epochs if every trial had gone to the last rung."""
    spent = [max((c.epoch for c in t.curve), default=0.0) for t in sweep.trials]
    return sum(spent), max(spent, default=0.0) * len(spent)


def _curves(sweep: SweepArtifact) -> str:
    best = best_trial(sweep)
    sign = 1 if sweep.mode == "max" else -1
    ranked = sorted(sweep.trials, key=lambda t: float("-inf") if t.best is None else sign * t.best, reverse=True)
    series = []
    for trial in ranked[:MAX_CURVES]:
        points = tuple((c.epoch, c.value) for c in trial.curve if c.value is not None)
        if not points:
            continue
        strong = trial is best
        told = f"trial {trial.number}, {trial.state}: best {score(trial.best)}"
        label = f"trial {trial.number}" if strong or len(sweep.trials) <= 12 else ""
        series.append(Line(label, points, "var(--ship)" if strong else STATES[trial.state], told, strong))
    if not series:
        return ""
    title = f"Validation {words(sweep.metric)} by epoch"
    chart = lines(series, x=Axis("epoch"), y=Axis(words(sweep.metric), _short), title=title)
    cut = f" The best {MAX_CURVES} of {len(sweep.trials):,} trials are drawn." if len(sweep.trials) > MAX_CURVES else ""
    return figure(chart, f"{title}. The best trial stands out; blue ran to the last rung, grey was stopped.{cut}")


def _saved(sweep: SweepArtifact) -> str:
    spent, full = epochs_spent(sweep)
    if not full:
        return ""
    trained, whole = _epochs(spent), _epochs(full)
    rows = [
        Bar("spent", ((spent, "var(--ship)", f"{trained} epochs trained"),), trained),
        Bar("all in full", ((full, "var(--base)", f"{whole} epochs if no trial had been stopped"),), whole),
    ]
    by_rung: dict[int, list[Trial]] = {}
    for trial in sweep.trials:
        by_rung.setdefault(trial.rung, []).append(trial)
    for rung in sorted(by_rung):
        parts = tuple((float(n), c, f"{n} {s}") for s, c in STATES.items() if (n := sum(t.state == s for t in by_rung[rung])))
        rows.append(Bar(f"ended at rung {rung}" if rung else "before a rung", parts, plural(len(by_rung[rung]), "trial")))
    saved = f"Stopping early trained {trained} of {whole} epochs: {percent(1 - spent / full)} saved."
    return figure(bars(rows[:2], title=saved, gutter=116.0) + bars(rows[2:], title="Trials by the rung they ended at", gutter=116.0), saved)


def _panels(sweep: SweepArtifact) -> list[str]:
    scored = [t for t in sweep.trials if t.best is not None]
    paths = list(dict.fromkeys(path for t in sweep.trials for path in t.settings))
    panels = (_panel(sweep, scored, path) for path in paths if len({setting(t.settings.get(path)) for t in scored}) > 1)
    return [p for p in panels if p][:MAX_PANELS]


def _panel(sweep: SweepArtifact, scored: list[Trial], path: str) -> str:
    tried = [(t, t.settings[path]) for t in scored if path in t.settings]
    if len(tried) < 2:
        return ""
    axis, places = _setting_axis(path, [v for _, v in tried])
    best = best_trial(sweep)
    few = len(tried) <= MAX_LABELS
    points = []
    for (trial, value), place in zip(tried, places, strict=True):
        aside = 0.0 if few or not axis.names else (trial.number * GOLDEN % 1 - 0.5) * 0.5  # so that equal settings do not hide each other
        colour = "var(--ship)" if trial is best else STATES[trial.state]
        tip = f"trial {trial.number}: {path} {setting(value)}, {score(trial.best)}"
        points.append(Point(str(trial.number) if few else "", place + aside, float(trial.best or 0.0), colour, tip, 5.0 if few else 3.5))
    points.sort(key=lambda p: p.colour == "var(--ship)")
    title = f"Best {words(sweep.metric)} by {path}"
    chart = scatter(points, x=axis, y=Axis(words(sweep.metric), _short), title=title, height=230.0)
    return figure(chart, f"{title}.{' Numbers are trials.' if few else ''}")


def _setting_axis(path: str, values: list[Any]) -> tuple[Axis, list[float]]:
    """The axis of a setting and where each value lies on it: numbers by size, anything else as categories."""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        log = is_logarithmic([float(v) for v in values])
        return Axis(path + (" (log scale)" if log else ""), setting, log), [float(v) for v in values]
    names = sorted({setting(v) for v in values})
    return Axis(path, names=tuple(names)), [float(names.index(setting(v))) for v in values]


def is_logarithmic(values: list[float]) -> bool:
    """Whether numbers look drawn on a log scale: they span much, and half of them are crowded at the low end."""
    low, high, middle = min(values), max(values), sorted(values)[(len(values) - 1) // 2]
    return low > 0 and high / low >= 8 and middle < low + 0.3 * (high - low)


def _table(sweep: SweepArtifact) -> str:
    paths = list(dict.fromkeys(path for t in sweep.trials for path in t.settings))
    columns = [Column("trial"), *(Column(_tail(p, paths), group="settings") for p in paths)]
    columns += [Column("rung"), Column(f"best {words(sweep.metric)}"), Column("at step"), Column("state", numeric=False), Column("worked")]
    best = best_trial(sweep)
    marked = [i for i, t in enumerate(sweep.trials) if t is best]
    rows = [_row(t, paths) for t in sweep.trials]
    return table(columns, rows, caption="Every trial. A heading sorts.", marked=marked, tall=len(rows) > 25)


def _row(trial: Trial, paths: list[str]) -> list[Cell]:
    cells = [plain(str(trial.number), trial.number)]
    for path in paths:
        value = trial.settings.get(path)
        key = value if isinstance(value, int | float) and not isinstance(value, bool) else setting(value)
        cells.append(plain(setting(value) if path in trial.settings else ABSENT, key))
    cells.append(plain(str(trial.rung), trial.rung))
    cells.append(plain(score(trial.best), "" if trial.best is None else trial.best))
    cells.append(plain(ABSENT if trial.best_step is None else f"{trial.best_step:,}", "" if trial.best_step is None else trial.best_step))
    why = f'<span class="why">{esc(excerpt(trial.error, 160))}</span>' if trial.error else ""
    cells.append(Cell(f'<span class="state {trial.state}">{trial.state}</span>{why}', trial.state))
    cells.append(plain(seconds(trial.busy_s), trial.busy_s))
    return cells


def _tail(path: str, paths: list[str]) -> str:
    """The end of a dotted path, as long as needed to tell it from the others."""
    parts = path.split(".")
    for n in range(1, len(parts)):
        tail = ".".join(parts[-n:])
        if sum(p == tail or p.endswith("." + tail) for p in paths) == 1:
            return tail
    return path


def _short(value: float) -> str:
    return f"{value:.3g}"


def _epochs(count: float) -> str:
    return f"{count:,.0f}" if count >= 100 else f"{count:.3g}"
