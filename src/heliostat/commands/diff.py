"""`heliostat diff RUN RUN`: the settings in which two runs differ, and their scores side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from heliostat.commands.page import page
from heliostat.commands.request import find_run
from heliostat.commands.show import manifests, scores_of
from heliostat.core.workspace import difference


def diff(first: Path, second: Path) -> None:
    """Print what differs between two runs."""
    roots = find_run(first), find_run(second)
    out = page()
    lines = differences(*(manifests(root) for root in roots))
    out.print(Text("settings", "bold"))
    for line in lines or ["no setting that decides the result differs"]:
        out.print(Text(f"  {line}"))
    out.print()
    out.print(Text("scores", "bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), header_style="dim")
    for name in ("", roots[0].name, roots[1].name, "change"):
        table.add_column(name, justify="left" if not name else "right")
    for name, a, b in scores(*(scores_of(root) for root in roots)):
        change = f"{b - a:+.4f}" if a is not None and b is not None else ""
        table.add_row(name, *(f"{v:.4f}" if v is not None else "-" for v in (a, b)), change)
    out.print(table)


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Own settings of each stage that differ; what only follows from another stage's difference is left out."""
    lines: dict[str, None] = {}
    for stage in dict.fromkeys([*first, *second]):
        a, b = (runs.get(stage) for runs in (first, second))
        if a is None or b is None:
            lines[f"{stage}: {'only in the second run' if a is None else 'only in the first run'}"] = None
            continue
        fingerprints = _fingerprints(first) | _fingerprints(second)
        for line in difference(a["identity"], b["identity"]):
            if not line.startswith("inputs.") or not any(mark in line for mark in fingerprints):
                lines[f"{stage}.{line.removeprefix('config.')}"] = None
    return list(lines)


def scores(first: dict[str, Any], second: dict[str, Any]) -> list[tuple[str, float | None, float | None]]:
    """(model suite metric, value in the first run, value in the second)."""
    a, b = _flat(first), _flat(second)
    return [(name, a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b])]


def _flat(run: dict[str, Any]) -> dict[str, float]:
    named = ((model, suite, metrics) for model, suites in run.items() for suite, metrics in suites.items())
    return {f"{model} {suite} {metric}": score["value"] for model, suite, metrics in named for metric, score in metrics.items()}


def _fingerprints(stages: dict[str, Any]) -> set[str]:
    return {manifest["fingerprint"] for manifest in stages.values()}
