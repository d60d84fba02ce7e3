"""`heliostat show RUN`: what is in a run's folder, from its manifests alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from heliostat.commands.display import clock
from heliostat.commands.page import page
from heliostat.commands.request import find_run
from heliostat.core.artifact import open_artifact
from heliostat.core.manifest import read_json


def show(run: Path) -> None:
    """Print the run's stages, scores and verdict."""
    import heliostat.artifacts  # noqa: F401 - the vocabulary a manifest may hold

    root = find_run(run)
    story = read_json(root / "run.json") or {}
    out = page()
    provenance = story.get("provenance", {})
    out.print(Text(str(root), "bold"))
    commit = provenance.get("commit")
    out.print(Text(f"heliostat {provenance.get('heliostat', '?')}" + (f" at {commit[:12]}" if commit else ""), "dim"))
    out.print(_stages(root))
    scores = scores_of(root)
    if scores:
        out.print()
        out.print(_scores(scores))
    _verdict(out, root)


def manifests(root: Path) -> dict[str, dict[str, Any]]:
    """Finished stages by name, in the order they finished."""
    found = {path.parent.name: read_json(path, root) for path in root.glob("*/manifest.json")}
    whole = {name: m for name, m in found.items() if isinstance(m, dict) and "output" in m}
    return dict(sorted(whole.items(), key=lambda item: item[1]["finished_unix"]))


def scores_of(root: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Model to suite to metric to {value, low, high}; later stages go over earlier ones."""
    found: dict[str, dict[str, Any]] = {}
    for manifest in manifests(root).values():
        if manifest["output"].get("kind") == "scores":
            found |= {model["name"]: model["scores"] for model in manifest["output"]["models"]}
    return found


def _stages(root: Path) -> Table:
    table = _columns("stage", "fingerprint", "time", "result")
    done = manifests(root)
    for name, manifest in done.items():
        summary = open_artifact(manifest["output"]).summary()
        table.add_row(Text(name, "bold"), Text(manifest["fingerprint"], "dim"), clock(manifest["seconds"]), summary)
    for started in sorted(root.glob("*/stage.json")):
        if started.parent.name not in done:
            table.add_row(Text(started.parent.name, "bold"), "", "", Text("not finished; run the same command again to go on", "yellow"))
    return table


def _scores(scores: dict[str, dict[str, dict[str, Any]]]) -> Table:
    rows = sorted({(suite, metric) for suites in scores.values() for suite, metrics in suites.items() for metric in metrics})
    table = _columns("score", *scores)
    for suite, metric in rows:
        cells = [scores[model].get(suite, {}).get(metric) for model in scores]
        table.add_row(f"{suite} {metric}", *(f"{c['value']:.4f} [{c['low']:.4f}, {c['high']:.4f}]" if c else "" for c in cells))
    return table


def _verdict(out: Console, root: Path) -> None:
    report = manifests(root).get("report")
    if report is None:
        return
    told = report["output"]
    out.print()
    out.print(Text.assemble(("ship ", "dim"), (told["ship"], "bold green"), f": {told['because']}"))
    for gate in told["gates"]:
        mark = Text("passed ", "green") if gate["passed"] else Text("FAILED ", "bold red")
        value = "not measured" if gate["value"] is None else f"{gate['value']:.6g}"
        out.print(Text.assemble(mark, f"{gate['name']}: {value}, the limit is {gate['limit']:.6g}"))
    out.print(Text(str(Path(told["path"]) / "index.html"), "dim"))


def _columns(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        table.add_column(name, overflow="fold")
    return table
