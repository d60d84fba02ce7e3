"""Whether the winner is really better, or was lucky."""

from __future__ import annotations

from typing import ClassVar

from heliostat.artifacts import Confirmation as Confirmed
from heliostat.artifacts import Sweep
from heliostat.report.charts import Dot, intervals
from heliostat.report.evidence import Evidence
from heliostat.report.markup import Column, figure, figures, lead, plain, table
from heliostat.report.sections.base import Base
from heliostat.report.trials import WINNER, ranked
from heliostat.report.wording import change, p_value, plural, score, words


class Confirmation(Base):
    """The finalists trained again: their means with intervals, and whether the first is better than the second."""

    title: ClassVar[str] = "Confirmation"
    order: ClassVar[int] = 44

    def render(self, evidence: Evidence) -> str:
        sweep = evidence.sweep
        if sweep is None or sweep.confirmation is None or not sweep.confirmation.finalists:
            return ""
        found = sweep.confirmation
        dots = [
            Dot(f"trial {f.trial}", f.mean.value, f.mean.low, f.mean.high, WINNER if i == 0 else "var(--m1)", score(f.mean.value))
            for i, f in enumerate(found.finalists)
        ]
        times = f"{len(found.finalists[0].values)} {found.how}"
        said = f"Mean {words(sweep.metric)} over {times}, with its 95 % interval."
        return lead(verdict(found, sweep.metric)) + figures([figure(intervals(dots, title=said, tell=score), said)]) + _table(sweep, found)


def verdict(found: Confirmed, metric: str) -> str:
    """What the confirmation showed, in words."""
    first, *others = found.finalists
    repeated = f"{len(first.values)} {found.how}"
    if not others:
        return f"Trial {first.trial} was trained again on {repeated}; there is no second finalist to compare it with."
    second = others[0]
    beside = [f", {words(name)} {score(value)} against {score(second.objectives[name])}" for name, value in first.objectives.items()]
    means = f"{words(metric)} {score(first.mean.value)} against {score(second.mean.value)}{''.join(beside)} over {repeated}"
    if first.within and not second.within:
        return f"Trial {first.trial} is the best one within the limits of tune.objectives; trial {second.trial} is beyond them ({means})."
    if not first.within:
        return (
            f"No finalist is within the limits of tune.objectives; trial {first.trial} is nearest, before trial {second.trial} ({means})."
        )
    if found.p_value is None:
        return f"Trial {first.trial} is ahead of trial {second.trial} ({means}); whether that is chance cannot be said."
    if found.significant:
        return f"Trial {first.trial} is significantly better than trial {second.trial}: {means}, {p_value(found.p_value)} (paired)."
    return (
        f"Not significant: trial {first.trial} is ahead of trial {second.trial} ({means}), but a difference like this comes by chance "
        f"too often ({p_value(found.p_value)}, paired). Take whichever is cheaper, or confirm with more {found.how}."
    )


def _table(sweep: Sweep, found: Confirmed) -> str:
    trials = {t.number: t for t in sweep.trials}
    place = {t.number: i + 1 for i, t in enumerate(ranked(sweep))}
    names = ("trial", "mean", "95 % interval", "in the sweep", "change", "rank in the sweep", f"each of the {found.how}")
    beside = [words(name) for name in found.finalists[0].objectives]
    columns = [Column(name) for name in (*names, *beside)]
    rows = []
    for one in found.finalists:
        before = trials[one.trial].best if one.trial in trials else None
        rows.append(
            [
                plain(str(one.trial), one.trial),
                plain(score(one.mean.value), one.mean.value),
                plain(f"{score(one.mean.low)} to {score(one.mean.high)}" if len(set(one.values)) > 1 else "all alike", one.mean.low),
                plain(score(before), "" if before is None else before),
                plain(change(None if before is None else one.mean.value - before)),
                plain(str(place.get(one.trial, "–")), place.get(one.trial, "")),
                plain(", ".join(score(v) for v in one.values)),
                *(plain(score(mean), mean) for mean in one.objectives.values()),
            ]
        )
    caption = f"{plural(len(rows), 'finalist')}, best first. The best of many is partly luck: a mean below the sweep's number is usual."
    return table(columns, rows, caption=caption, marked=[0])
