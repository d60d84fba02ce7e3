"""What the plan said the sweep would cost, and what it cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from heliostat.artifacts import Spent
from heliostat.report.charts import Bar, bars
from heliostat.report.evidence import Evidence
from heliostat.report.markup import Column, figure, figures, lead, plain, table
from heliostat.report.sections.base import Base
from heliostat.report.wording import ABSENT, percent, seconds, size

NEAR = 0.15
"""Within this share of what was expected, it came true."""


class Expectation(Base):
    """Jobs, work, time, disk and money: expected against spent."""

    title: ClassVar[str] = "Expected and spent"
    order: ClassVar[int] = 45

    def render(self, evidence: Evidence) -> str:
        sweep = evidence.sweep
        if sweep is None or sweep.spent is None or sweep.expected is None:
            return ""
        columns = [Column("", numeric=False), Column("expected"), Column("spent"), Column("of expected")]
        found = quantities(sweep.expected, sweep.spent)
        cells = [[plain(name), plain(before), plain(after), plain(percent(ratio))] for name, before, after, ratio in found]
        charts = [_jobs(sweep.expected, sweep.spent)] if len(sweep.spent.jobs) > 1 else []
        return lead(said(sweep.expected, sweep.spent)) + table(columns, cells, caption="The plan, and what came true.") + figures(charts)


def quantities(expected: Spent, spent: Spent) -> list[tuple[str, str, str, float | None]]:
    """(name, expected, spent, spent over expected), as they are written; what neither knows is left out."""
    rows: list[tuple[str, float | None, float | None, Callable[[float], str]]] = [
        ("jobs", float(sum(expected.jobs)), float(sum(spent.jobs)), lambda v: f"{v:,.0f}"),
        ("whole trainings", expected.trainings, spent.trainings, lambda v: f"{v:,.1f}"),
        ("wall time", expected.wall_s, spent.wall_s, seconds),
        ("largest disk use of checkpoints", as_float(expected.checkpoint_bytes), as_float(spent.checkpoint_bytes), size),
        ("cost", expected.cost, spent.cost, lambda v: f"{v:,.2f}"),
    ]
    return [
        (name, ABSENT if a is None else tell(a), ABSENT if b is None else tell(b), b / a if a and b is not None else None)
        for name, a, b, tell in rows
        if a is not None or b is not None
    ]


def as_float(value: int | None) -> float | None:
    return None if value is None else float(value)


def said(expected: Spent, spent: Spent) -> str:
    """The comparison in a sentence, of time when it was known, else of work."""
    if expected.wall_s and spent.wall_s is not None:
        ratio, times = spent.wall_s / expected.wall_s, f"{seconds(expected.wall_s)} were expected and {seconds(spent.wall_s)} were spent"
    elif expected.trainings:
        ratio = spent.trainings / expected.trainings
        times = f"the work of {expected.trainings:,.1f} whole trainings was expected and of {spent.trainings:,.1f} was done"
    else:
        return "Nothing was expected that could be compared."
    judged = "It came true" if abs(ratio - 1) <= NEAR else "It took less" if ratio < 1 else "It took more"
    return f"{judged}: {times}, {percent(ratio)}."


def _jobs(expected: Spent, spent: Spent) -> str:
    rows = []
    for i in range(max(len(expected.jobs), len(spent.jobs))):
        for label, jobs, colour in ((f"rung {i + 1} expected", expected.jobs, "var(--base)"), ("spent", spent.jobs, "var(--ship)")):
            count = jobs[i] if i < len(jobs) else 0
            rows.append(Bar(label, ((float(count), colour, f"{count:,} jobs"),), f"{count:,}"))
    return figure(bars(rows, title="Jobs at each rung"), "Jobs at each rung: grey was expected.")
