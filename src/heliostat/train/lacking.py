"""Rows that hold nothing to train on: left out, told and listed one by one, and refused when they are more than a few."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from heliostat.core.errors import UserError
from heliostat.core.manifest import read_json
from heliostat.engine.streams import UNITS, opened

MOST = 0.05
"""Share of the training rows that may hold nothing to train on."""
REASON = "nothing_to_train_on"
TOLD = ("id", "source", "text")
EXCERPT_CHARACTERS = 200


def tell_lacking(prepared: Path, files: Sequence[Path], task: Any, ctx: Any) -> None:
    """Say how many of the training rows in `prepared`, made from `files`, hold nothing to train on, and list them in the stage's folder.

    `UserError` when they are more than `MOST` of them. The list is named for the prepared rows: trials may prepare them each in their way.
    """
    counted = read_json(prepared / "manifest.json")
    if counted["rows"] == counted["trainable"]:
        return
    rows = opened(prepared)
    bare_N = np.flatnonzero(rows.added(rows.column(UNITS)) == 0)
    if not len(bare_N):
        return
    bare, count = len(bare_N), len(rows.first_N)
    listed = ctx.folder / f"quarantine-{prepared.name}.jsonl"
    is_new = not listed.exists()
    if is_new:
        _list(listed, files, bare_N)
    told = f"{ctx.name}: {bare:,} of {count:,} training rows hold nothing to train on"
    if bare > MOST * count:
        raise UserError(f"{told}; at most {MOST:.0%} may. {task.untrained} Each of them is in '{listed}'.")
    if is_new:  # once, however many trials train on them
        ctx.show.message(f"{told} and are left out: {listed.name}")


def _list(place: Path, files: Sequence[Path], bare_N: np.ndarray) -> None:
    """The rows of `files`, one after another, at `bare_N`: a JSON line for each, in place when all are there."""
    import pyarrow.parquet as pq

    place.parent.mkdir(parents=True, exist_ok=True)
    temporary, first = place.with_name(f".{place.name}.tmp"), 0
    with temporary.open("w", encoding="utf-8") as out:
        for file in files:
            table = pq.read_table(file, columns=[name for name in TOLD if name in pq.read_schema(file).names])
            inside_N = bare_N[(bare_N >= first) & (bare_N < first + table.num_rows)] - first
            for row in table.take(inside_N).to_pylist():
                text = " ".join((row.pop("text", None) or "").split())[:EXCERPT_CHARACTERS]
                out.write(json.dumps({**row, "reason": REASON, "excerpt": text}, ensure_ascii=False) + "\n")
            first += table.num_rows
    temporary.rename(place)
