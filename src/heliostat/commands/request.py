"""Which run is meant: the config, the layout and the run's folder, from the options of the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliostat.config import RunConfig, as_begun, read_config
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
        wrong: list[str] = [] if self.name is None else _wrong_name(self.name)
        layout = Layout()
        try:
            layout = read_layout(self.cluster)
        except UserError as error:
            wrong += error.problems
        changes = {**({"storage": str(self.storage)} if self.storage else {}), **(layout_changes or {})}
        layout = layout.model_copy(update=changes)
        run = read_config(self.config, self.assignments, layout, other=wrong)
        if self.name:
            run = run.model_copy(update={"name": self.name})
        root = Path(layout.storage).expanduser().resolve() / run.name
        return as_begun(run, root), layout, root


def _wrong_name(name: str) -> list[str]:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        return []
    return [f"--name '{name}': a run's name is letters, digits, '.', '_' and '-', and does not begin with a sign."]


def find_run(given: Path) -> Path:
    """The run folder a person means: a folder, or a name under runs/."""
    for place in (given, Path("runs") / given):
        if (place / "run.json").exists():
            return place.resolve()
    known = sorted(p.parent.name for p in Path("runs").glob("*/run.json"))
    near = f" Runs here: {', '.join(known)}." if known else " There are no runs under runs/."
    raise UserError(f"'{given}' is not a run: it holds no run.json.{near}")
