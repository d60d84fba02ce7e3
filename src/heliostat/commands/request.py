"""Which run is meant: the config, the layout and the run's folder, from the options of the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliostat.config import RunConfig, read_config
from heliostat.core.errors import UserError
from heliostat.core.layout import Layout, read_layout


@dataclass(frozen=True)
class Request:
    """The options shared by run and plan."""

    config: Path
    cluster: str | None = None
    assignments: tuple[str, ...] = ()
    name: str | None = None
    storage: Path | None = None
    replace: bool = False

    def resolve(self, layout_changes: dict[str, Any] | None = None) -> tuple[RunConfig, Layout, Path]:
        """The checked config, the layout (with `layout_changes`), and the run's folder; every problem as one `UserError`."""
        layout = read_layout(self.cluster)
        if self.storage:
            layout = layout.model_copy(update={"storage": str(self.storage)})
        if layout_changes:
            layout = layout.model_copy(update=layout_changes)
        run = read_config(self.config, self.assignments, layout)
        if self.name:
            run = run.model_copy(update={"name": _valid_name(self.name)})
        return run, layout, Path(layout.storage).expanduser().resolve() / run.name


def _valid_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(f"--name '{name}': a run's name is letters, digits, '.', '_' and '-', and does not begin with a sign.")
    return name


def find_run(given: Path) -> Path:
    """The run folder a person means: a folder, or a name under runs/."""
    for place in (given, Path("runs") / given):
        if (place / "run.json").exists():
            return place.resolve()
    known = sorted(p.parent.name for p in Path("runs").glob("*/run.json"))
    near = f" Runs here: {', '.join(known)}." if known else " There are no runs under runs/."
    raise UserError(f"'{given}' is not a run: it holds no run.json.{near}")
