"""Rows that hold nothing to train on: left out and told, and refused when they are more than a few."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heliostat.core.errors import UserError
from heliostat.core.manifest import read_json

MOST = 0.05
"""Share of the training rows that may hold nothing to train on."""


def tell_lacking(prepared: Path, task: Any, ctx: Any) -> None:
    """Say how many of the training rows in `prepared` hold nothing to train on; `UserError` when they are more than `MOST` of them."""
    counted = read_json(prepared / "manifest.json")
    rows, bare = counted["rows"], counted["rows"] - counted["trainable"]
    if not bare:
        return
    told = f"{ctx.name}: {bare:,} of {rows:,} training rows hold nothing to train on"
    if bare > MOST * rows or bare == rows:
        raise UserError(f"{told}; at most {MOST:.0%} may. {task.untrained}")
    ctx.show.message(f"{told} and are left out")
