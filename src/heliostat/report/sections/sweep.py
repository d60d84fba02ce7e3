"""What the sweep tried, and what it saved."""

from __future__ import annotations

from typing import ClassVar

from heliostat.artifacts import Curve, Trial
from heliostat.artifacts import Sweep as SweepArtifact
from heliostat.report.axes import Axis
from heliostat.report.charts import Bar, Line, bars, lines
from heliostat.report.evidence import Evidence
from heliostat.report.markup import figure, figures, lead
from heliostat.report.sections.base import Base
from heliostat.report.trials import STATES, WINNER, ranked, readable, sample, short, winner
from heliostat.report.wording import percent, plural, score, seconds, words

MAX_CURVES = 200
MAX_STEPS = 40
"""Points of one curve that are drawn."""
FEW = 12
"""So many curves each carry their name."""
MANY = 30
ENDED = {"all": "", "hours": " It ended with its budget of hours.", "cost": " It ended with its budget of money."}


class Sweep(Base):
    """Learning curves of the trials, the rungs they ended at, and the epochs saved by stopping early."""

    title: ClassVar[str] = "Sweep"
    order: ClassVar[int] = 40

    def render(self, evidence: Evidence) -> str:
        sweep = evidence.sweep
        if sweep is None or not sweep.trials:
            return ""
        counts = ", ".join(f"{sweep.count(s):,} {s}" for s in STATES if sweep.count(s))
        told = (
            f"{plural(len(sweep.trials), 'trial')} ({counts}) in {seconds(sweep.wall_s)} on {plural(sweep.slots, 'slot')}; "
            f"goodput {percent(sweep.goodput)}: the share of slot time that went into training.{ENDED[sweep.ended]}"
        )
        charts = [_curves(sweep, evidence), _saved(sweep, evidence), _rungs(sweep)]
        return lead(told) + figures([c for c in charts if c])


def epochs_spent(sweep: SweepArtifact, evidence: Evidence) -> tuple[float, float]:
    """Epochs that were trained, and epochs if every trial had gone to the last rung."""
    return sum(max((c.epoch for c in t.curve), default=0.0) for t in sweep.trials), sum(lengths(sweep, evidence).values())


def lengths(sweep: SweepArtifact, evidence: Evidence) -> dict[int, float]:
    """Trial number to the epochs of its whole training."""
    own = (evidence.run.get("config") or {}).get("train", {}).get("epochs")
    seen = max((c.epoch for t in sweep.trials for c in t.curve), default=0.0)
    common = max(seen, float(own)) if isinstance(own, int | float) else seen
    tried = {t.number: t.settings.get("train.epochs") for t in sweep.trials}
    return {number: float(epochs) if isinstance(epochs, int | float) else common for number, epochs in tried.items()}


def _curves(sweep: SweepArtifact, evidence: Evidence) -> str:
    best, whole = winner(sweep), lengths(sweep, evidence)
    in_epochs = len(set(whole.values())) == 1
    able = [t for t in _with_curve(sweep) if whole[t.number] > 0]
    drawn = sample(able, MAX_CURVES)
    if best is not None and best in able and best not in drawn:
        drawn.append(best)
    few = len(able) <= FEW
    series = [_line(t, 1.0 if in_epochs else whole[t.number], strong=t is best, named=few or t is best) for t in reversed(drawn)]
    if not series:
        return ""
    values = [y for s in series for _, y in s.points]
    within = readable(values, mode=sweep.mode, many=len(series) > MANY)
    length = next(iter(whole.values())) if in_epochs else 1.0
    at = [(share * length, str(i + 1)) for i, share in enumerate(sweep.rungs)] if len(sweep.rungs) > 1 else []
    marks = [*at[:-1], (at[-1][0], f"rung {at[-1][1]}")] if at else []
    x = Axis("epoch") if in_epochs else Axis("share of the training", lambda v: f"{100 * v:.0f} %")
    title = f"Validation {words(sweep.metric)} by {x.label}"
    chart = lines(series, x=x, y=Axis("", short), title=title, height=300.0, marks=marks, within=within)
    said = f"{title}. {'The winner stands out; blue' if best else 'Blue'} ran to the last rung, grey was stopped, red failed."
    if len(drawn) < len(able):
        said += f" {len(drawn)} of {len(able):,} trials are drawn: the best, and evenly spaced ones of the rest."
    worst = min(values) < within[0] or max(values) > within[1]
    return figure(chart, said + (" The worst values are drawn at the edge." if worst else ""))


def _with_curve(sweep: SweepArtifact) -> list[Trial]:
    """Trials that have a value to draw, best first, failed ones last."""
    order = ranked(sweep)
    known = {t.number for t in order}
    rest = [t for t in sweep.trials if t.number not in known]
    return [t for t in [*order, *rest] if any(c.value is not None for c in t.curve)]


def _line(trial: Trial, length: float, *, strong: bool, named: bool) -> Line:
    points = tuple((c.epoch / length, c.value) for c in thinned(trial.curve) if c.value is not None)
    told = f"trial {trial.number}, {trial.state}: best {score(trial.best)}"
    return Line(f"trial {trial.number}" if named else "", points, WINNER if strong else STATES[trial.state], told, strong)


def thinned(curve: tuple[Curve, ...]) -> list[Curve]:
    """Evenly spaced points of a long curve, the last one among them."""
    if len(curve) <= MAX_STEPS:
        return list(curve)
    return [curve[round(i * (len(curve) - 1) / (MAX_STEPS - 1))] for i in range(MAX_STEPS)]


def _saved(sweep: SweepArtifact, evidence: Evidence) -> str:
    spent, full = epochs_spent(sweep, evidence)
    if not full:
        return ""
    trained, whole = _epochs(spent), _epochs(full)
    rows = [
        Bar("spent", ((spent, WINNER, f"{trained} epochs trained"),), trained),
        Bar("all in full", ((full, "var(--base)", f"{whole} epochs if no trial had been stopped"),), whole),
    ]
    saved = f"Stopping early trained {trained} of {whole} epochs: {percent(1 - spent / full)} saved."
    by_rung: dict[int, list[Trial]] = {}
    for trial in sweep.trials:
        by_rung.setdefault(trial.rung, []).append(trial)
    ended = []
    for rung in sorted(by_rung):
        parts = tuple((float(n), c, f"{n} {s}") for s, c in STATES.items() if (n := sum(t.state == s for t in by_rung[rung])))
        ended.append(Bar(f"ended at rung {rung}" if rung else "before a rung", parts, plural(len(by_rung[rung]), "trial")))
    return figure(bars(rows, title=saved, gutter=116.0) + bars(ended, title="Trials by the rung they ended at", gutter=116.0), saved)


def _rungs(sweep: SweepArtifact) -> str:
    """Jobs at each rung, when more is known than where trials ended."""
    if sweep.spent is None or len(sweep.spent.jobs) < 2:
        return ""
    shares = [percent(share) for share in sweep.rungs] + ["100 %"] * len(sweep.spent.jobs)
    rows = [
        Bar(f"rung {i + 1}, {share}", ((float(n), "var(--m1)", f"{n:,} jobs to {share} of a training"),), f"{n:,}")
        for i, (n, share) in enumerate(zip(sweep.spent.jobs, shares, strict=False))
    ]
    said = "Jobs at each rung, and the share of a training it stands for."
    return figure(bars(rows, title=said, gutter=116.0), said)


def _epochs(count: float) -> str:
    return f"{count:,.0f}" if count >= 100 else f"{count:.3g}"
