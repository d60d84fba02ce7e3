"""`heliostat sweep RUN`: what a sweep found, what it cost and what went wrong, finished or not.

Tables on the terminal from a `Swept`, or the same as one JSON value for programs.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from heliostat.artifacts import Sweep, Trial
from heliostat.commands.display import clock, told_settings
from heliostat.commands.page import page
from heliostat.commands.request import find_run
from heliostat.commands.swept import Swept, read_sweep

NARROW, OBJECTIVE = 76, 13
"""Columns below which a trial of the leaderboard takes lines of its own, and what each objective adds to them."""
WIDEST_BAR = 40
EIGHTHS = " ▏▎▍▌▋▊▉█"
SHOWN_CAUSES = 8
SHOWN_FRONT = 12
STYLES = {"completed": "", "running": "cyan", "paused": "", "stopped": "dim", "failed": "red"}
ENDED = {"all": "", "hours": "; ended by its budget of hours", "cost": "; ended by its budget of cost"}


def sweep(run: Path, *, top: int, as_json: bool) -> None:
    """Print the sweep of a run."""
    found = read_sweep(find_run(run))
    if as_json:
        print(json.dumps(finite(record(found)), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        draw(page(), found, top)


def record(found: Swept) -> dict[str, Any]:
    """The whole sweep as plain JSON values; trials come best first."""
    from heliostat.report.trials import ranked, winner

    swept, order = found.sweep, ranked(found.sweep)
    places = {t.number: i + 1 for i, t in enumerate(order)}
    best = winner(swept)
    dumped = swept.model_dump(mode="json", include={"metric", "mode", "rungs", "objectives", "front", "importance", "ended"})
    return {
        "run": str(found.root),
        "finished": found.finished,
        "wanted": found.wanted,
        "best": best.number if best else None,
        **dumped,
        "trials": [{"rank": places.get(t.number), **_plain(t)} for t in everyone(swept)],
        "jobs": jobs_of(swept),
        "wall_s": swept.wall_s,
        "busy_s": swept.busy_s,
        "confirmation": swept.confirmation.model_dump(mode="json") if swept.confirmation else None,
        "expected": swept.expected.model_dump(mode="json") if swept.expected else None,
        "spent": swept.spent.model_dump(mode="json") if swept.spent else None,
        "failures": [{"cause": cause, "trials": numbers} for cause, numbers in _causes(swept)],
        "mirror": str(found.mirror) if found.mirror else None,
    }


def _plain(trial: Trial) -> dict[str, Any]:
    """A trial's fields; `state` may be one of a sweep that still goes on."""
    fields = ("number", "state", "rung", "best", "best_step", "value", "objectives", "settings", "busy_s", "error")
    curve = [{"step": c.step, "epoch": c.epoch, "value": c.value, "loss": c.loss} for c in trial.curve]
    return {name: getattr(trial, name) for name in fields} | {"curve": curve}


def finite(value: Any) -> Any:
    """The value with None for every number that JSON cannot write."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def everyone(swept: Sweep) -> list[Trial]:
    """Every trial: best first, then those without a number, failed ones last."""
    from heliostat.report.trials import ranked

    order = ranked(swept)
    known = {t.number for t in order}
    rest = [t for t in swept.trials if t.number not in known]
    return [*order, *sorted(rest, key=lambda t: (t.state == "failed", t.number))]


def jobs_of(swept: Sweep) -> list[int]:
    """Jobs at each rung; of an older manifest, from where its trials ended."""
    if swept.spent is not None:
        return list(swept.spent.jobs)
    rungs = max([len(swept.rungs), *(t.rung for t in swept.trials)])
    return [sum(t.rung > rung or rung == 0 for t in swept.trials) for rung in range(rungs)]


def bar(share: float, width: int) -> str:
    """A bar of `share` of `width` columns, to an eighth of one."""
    eighths = round(min(1.0, max(0.0, share)) * width * 8)
    return EIGHTHS[8] * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")


def draw(out: Console, found: Swept, top: int) -> None:
    """Everything there is to say, part by part; a part with nothing to say is left out."""
    _head(out, found)
    _leaderboard(out, found.sweep, top)
    _jobs(out, found.sweep)
    _importance(out, found.sweep)
    _front(out, found.sweep)
    _confirmation(out, found.sweep)
    _costs(out, found)
    _failures(out, found.sweep)
    _mirror(out, found)


def _head(out: Console, found: Swept) -> None:
    swept = found.sweep
    states = ("running", "paused", "completed", "stopped", "failed")
    counts = ", ".join(f"{n:,} {s}" for s in states if (n := swept.count(s)))
    out.print(Text(str(found.root), "bold"))
    of = "" if found.finished or found.wanted == len(swept.trials) else f" of {found.wanted:,}"
    time = f"; {clock(swept.wall_s)} of wall time" if swept.wall_s else ""
    goodput = f", goodput {swept.goodput:.2f}" if found.finished and swept.wall_s else ""
    out.print(Text(f"{len(swept.trials):,}{of} trials ({counts}){time}{goodput}{ENDED[swept.ended]}", "dim"))
    if found.heard_s is not None:
        out.print(Text(f"not finished: running, or interrupted; its ledger was last written {clock(found.heard_s)} ago", "yellow"))


def _leaderboard(out: Console, swept: Sweep, top: int) -> None:
    from heliostat.report.trials import ranked, winner

    every, best = everyone(swept), winner(swept)
    places = {t.number: str(i + 1) for i, t in enumerate(ranked(swept))}
    out.print()
    if out.width < NARROW + OBJECTIVE * len(swept.objectives):
        for trial in every[:top]:
            out.print(_narrow_row(trial, swept, places.get(trial.number, "-"), best=trial is best))
    else:
        out.print(_wide_rows(every[:top], swept, places, best))
    if len(every) > top:
        out.print(Text(f"{len(every) - top:,} more: --top {len(every)}", "dim"))


def _narrow_row(trial: Trial, swept: Sweep, rank: str, *, best: bool) -> Group:
    """A trial on lines of its own: its numbers, then its settings."""
    style = "bold green" if best else STYLES[trial.state]
    numbers = [f"{name} {_number(value)}" for name, value in [(swept.metric, trial.best), *trial.objectives.items()]]
    head = f"{'★' if best else ' '} {rank:>3}  trial {trial.number}  {trial.state}, rung {trial.rung}"
    rest = [Padding(Text(line, style), (0, 0, 0, 7)) for line in ("  ".join(numbers), told_settings(trial.settings))]
    return Group(Text(head, style), *rest)


def _wide_rows(trials: list[Trial], swept: Sweep, places: dict[int, str], best: Trial | None) -> Table:
    names = [(swept.metric, "right"), *((name, "right") for name in swept.objectives), ("busy", "right")]
    table = _table(("", "left"), ("rank", "right"), ("trial", "right"), ("state", "left"), ("rung", "right"), *names)
    table.add_column("settings", overflow="fold", ratio=1, min_width=12)
    for trial in trials:
        style = "bold green" if trial is best else STYLES[trial.state]
        cells = ["★" if trial is best else "", places.get(trial.number, "-"), str(trial.number), trial.state, str(trial.rung)]
        cells += [_number(trial.best), *(_number(trial.objectives.get(name)) for name in swept.objectives), clock(trial.busy_s)]
        table.add_row(*(Text(c, style) for c in [*cells, told_settings(trial.settings)]))
    return table


def _jobs(out: Console, swept: Sweep) -> None:
    jobs = jobs_of(swept)
    if len(jobs) < 2:
        return
    table = _table(("rung", "right"), ("of a training", "right"), ("jobs", "right"), ("", "left"))
    for i, count in enumerate(jobs):
        share = f"{100 * swept.rungs[i]:.3g} %" if i < len(swept.rungs) else ""
        table.add_row(str(i + 1), share, f"{count:,}", Text(bar(count / max(jobs), _room(out)), "cyan"))
    _part(out, "jobs per rung", table)


def _importance(out: Console, swept: Sweep) -> None:
    if not swept.importance:
        return
    table = _table(("setting", "left"), ("", "right"), ("", "left"))
    top = max(swept.importance.values()) or 1.0
    for path, share in swept.importance.items():
        table.add_row(path, f"{100 * share:.0f} %", Text(bar(share / top, _room(out)), "yellow"))
    _part(out, "what decided whether a trial was among the best quarter", table)


def _front(out: Console, swept: Sweep) -> None:
    if not swept.front:
        return
    trials = {t.number: t for t in swept.trials}
    named = [(f"{name} ({'more' if mode == 'max' else 'less'})", "right") for name, mode in swept.objectives.items()]
    table = _table(("trial", "right"), (swept.metric, "right"), *named)
    for number in swept.front[:SHOWN_FRONT]:
        trial = trials[number]
        table.add_row(str(number), _number(trial.best), *(_number(trial.objectives.get(name)) for name in swept.objectives))
    _part(out, f"Pareto front: {len(swept.front):,} trials that no other one beats in everything at once", table)
    if len(swept.front) > SHOWN_FRONT:
        out.print(Text(f"{len(swept.front) - SHOWN_FRONT:,} more: --json", "dim"))


def _confirmation(out: Console, swept: Sweep) -> None:
    from heliostat.report.sections.confirmation import verdict

    if swept.confirmation is None or not swept.confirmation.finalists:
        return
    beside = [(name, "right") for name in swept.confirmation.finalists[0].objectives]
    table = _table(
        ("trial", "right"), ("mean", "right"), ("95 % interval", "left"), *beside, (f"each of the {swept.confirmation.how}", "left")
    )
    for one in swept.confirmation.finalists:
        interval = f"{_number(one.mean.low)} to {_number(one.mean.high)}"
        means = [_number(mean) for mean in one.objectives.values()]
        table.add_row(str(one.trial), _number(one.mean.value), interval, *means, " ".join(_number(v) for v in one.values))
    _part(out, "finalists trained again", table)
    out.print(Text(verdict(swept.confirmation, swept.metric), "bold green" if swept.confirmation.significant else "yellow"))


def _costs(out: Console, found: Swept) -> None:
    from heliostat.report.sections.expectation import quantities, said

    expected, spent = found.sweep.expected, found.sweep.spent
    if expected is None or spent is None:
        return
    so_far = "spent" if found.finished else "so far"
    table = _table(("", "left"), ("expected", "right"), (so_far, "right"), ("of expected", "right"))
    for name, before, after, ratio in quantities(expected, spent):
        table.add_row(name, before, after, "" if ratio is None else f"{100 * ratio:.0f} %")
    _part(out, f"expected and {so_far}", table)
    if found.finished:
        out.print(Text(said(expected, spent)))


def _failures(out: Console, swept: Sweep) -> None:
    found = _causes(swept)
    if not found:
        return
    table = _table(("trials", "right"), ("which", "left"))
    table.add_column("cause", overflow="fold", ratio=1, min_width=12)
    for cause, numbers in found[:SHOWN_CAUSES]:
        some = " ".join(map(str, numbers[:5])) + (" ..." if len(numbers) > 5 else "")
        table.add_row(f"{len(numbers):,}", some, Text(" ".join(cause.split()), "red"))
    _part(out, "failures by cause", table)
    if len(found) > SHOWN_CAUSES:
        out.print(Text(f"{len(found) - SHOWN_CAUSES:,} more causes: --json", "dim"))


def _causes(swept: Sweep) -> list[tuple[str, list[int]]]:
    from heliostat.report.sections.trials import causes

    return causes([t for t in swept.trials if t.state == "failed"])


def _mirror(out: Console, found: Swept) -> None:
    from heliostat.tune.mirror import how_to_open

    if found.mirror is None:
        return
    out.print()
    out.print(Text("curves, trials and importance in a browser (pip install 'heliostat[dashboard]'):", "dim"))
    out.print(Text(how_to_open(found.mirror)), soft_wrap=True)


def _part(out: Console, title: str, table: Table) -> None:
    out.print()
    out.print(Text(title, "bold"))
    out.print(table)


def _table(*columns: tuple[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name, justify in columns:
        table.add_column(name, justify=justify, overflow="fold")
    return table


def _room(out: Console) -> int:
    return max(8, min(WIDEST_BAR, out.width - 44))


def _number(value: float | None) -> str:
    """A metric's or an objective's value; four decimals while it is small."""
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
