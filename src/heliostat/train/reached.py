"""What a training has reached, on disk: `result.json`, the proof, and the checkpoint of the best step that it names.

A kill may come between any two writes. So everything new is written first, then `result.json`, and only then does what it
replaces go: whatever a resumed training finds belongs together.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from heliostat.core.manifest import read_json, write_json
from heliostat.engine import checkpoints

RESULT = "result.json"


def best_step(folder: Path) -> Path | None:
    """The checkpoint of the best step that `result.json` names; None when it is gone or not whole."""
    result = read_json(folder / RESULT)
    if not result or not result["best"]:
        return None
    found = checkpoints.at(folder / "best", result["best"]["step"])
    return found if checkpoints.is_valid(found) else None


def newest(folder: Path) -> str | None:
    """Name of the checkpoint that this training goes on from; None is the start."""
    found = checkpoints.latest(folder / "latest")
    if found is None:
        return None
    best = checkpoints.facts(found)["best"]
    if best and not checkpoints.at(folder / "best", best["step"]).exists():
        return None  # the disk budget took its best step: only the same training from its start has it again
    return found.name


def settle(folder: Path, result: dict[str, Any]) -> None:
    """The checkpoints that `result` speaks of are written: say so, and delete the best steps before. One worker does it."""
    best = result["best"] and checkpoints.at(folder / "best", result["best"]["step"])
    if best and (best / checkpoints.PREDICTIONS).exists():
        temporary = folder / "valid.tmp.npy"
        shutil.copyfile(best / checkpoints.PREDICTIONS, temporary)
        temporary.rename(folder / "valid.npy")
    write_json(folder / RESULT, result, durable=False)  # without it the same training is made again
    if best:
        checkpoints.keep_only(folder / "best", {best.name})
