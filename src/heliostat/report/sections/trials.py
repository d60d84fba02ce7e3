"""Every trial."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from heliostat.artifacts import Sweep, Trial
from heliostat.report.evidence import Evidence
from heliostat.report.markup import Cell, Column, lead, plain, table
from heliostat.report.sections.base import Base
from heliostat.report.trials import ranked, tail, winner
from heliostat.report.wording import ABSENT, esc, excerpt, plural, score, seconds, setting, words

MAX_ROWS = 300
MAX_CAUSES = 12


class Trials(Base):
    """The table of trials, and why some failed."""

    title: ClassVar[str] = "Trials"
    order: ClassVar[int] = 46

    def render(self, evidence: Evidence) -> str:
        sweep = evidence.sweep
        if sweep is None or not sweep.trials:
            return ""
        return _failures(sweep) + _table(sweep, evidence.run_name)


def causes(trials: list[Trial]) -> list[tuple[str, list[int]]]:
    """Error to the trials that ended with it, the most frequent first."""
    counts = Counter(t.error or "no reason was given" for t in trials)
    return [(error, [t.number for t in trials if (t.error or "no reason was given") == error]) for error, _ in counts.most_common()]


def _failures(sweep: Sweep) -> str:
    failed = [t for t in sweep.trials if t.state == "failed"]
    if not failed:
        return lead("No trial failed.")
    found = causes(failed)
    rows = [
        [plain(f"{len(numbers):,}", len(numbers)), Cell(f'<span class="why">{esc(excerpt(error, 240))}</span>'), plain(_numbers(numbers))]
        for error, numbers in found[:MAX_CAUSES]
    ]
    columns = [Column("trials"), Column("cause", numeric=False), Column("which", numeric=False)]
    why = f"{plural(len(failed), 'trial')} failed, for {plural(len(found), 'cause')}. A failed trial never wins."
    return lead(why) + table(columns, rows, caption="Failures by cause.")


def _numbers(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")


def _table(sweep: Sweep, run: str) -> str:
    order = ranked(sweep)
    known = {t.number for t in order}
    every = [*order, *(t for t in sweep.trials if t.number not in known)]
    shown = every[:MAX_ROWS]
    paths = list(dict.fromkeys(path for t in sweep.trials for path in t.settings))
    columns = [Column("trial"), *(Column(tail(p, paths), group="settings") for p in paths)]
    columns += [Column("rung"), Column(f"best {words(sweep.metric)}"), Column("at step")]
    columns += [Column(words(name)) for name in sweep.objectives]
    columns += [Column("state", numeric=False), Column("worked")]
    best = winner(sweep)
    marked = [i for i, t in enumerate(shown) if t is best]
    told = "Every trial, best first."
    if len(shown) < len(every):
        told = f"The best {len(shown)} of {len(every):,} trials; heliostat sweep {run} --json has all."
    rows = [_row(t, paths, list(sweep.objectives)) for t in shown]
    return table(columns, rows, caption=f"{told} A heading sorts.", marked=marked, tall=len(shown) > 25)


def _row(trial: Trial, paths: list[str], objectives: list[str]) -> list[Cell]:
    cells = [plain(str(trial.number), trial.number)]
    for path in paths:
        value = trial.settings.get(path)
        key = value if isinstance(value, int | float) and not isinstance(value, bool) else setting(value) if path in trial.settings else ""
        cells.append(plain(setting(value) if path in trial.settings else ABSENT, key))
    cells.append(plain(str(trial.rung), trial.rung))
    cells.append(plain(score(trial.best), "" if trial.best is None else trial.best))
    cells.append(plain(ABSENT if trial.best_step is None else f"{trial.best_step:,}", "" if trial.best_step is None else trial.best_step))
    numbers = [trial.objectives.get(name) for name in objectives]
    cells += [plain(ABSENT if n is None else f"{n:.4g}", "" if n is None else n) for n in numbers]
    why = f'<span class="why">{esc(excerpt(trial.error, 160))}</span>' if trial.error else ""
    cells.append(Cell(f'<span class="state {trial.state}">{trial.state}</span>{why}', trial.state))
    cells.append(plain(seconds(trial.busy_s), trial.busy_s))
    return cells
