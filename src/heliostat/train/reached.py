"""What a training has reached, on disk: `result.json`, the proof, and the checkpoint of the best step that it names.

A kill may come between any two writes. So everything new is written first, then `result.json`, and only then does what it
replaces go: whatever a resumed training finds belongs together.

What a folder holds belongs to the settings it was made with. The ledger of a sweep may be an older copy, after which a trial has
other settings, or is at an earlier step: nothing of before is taken for it then.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from heliostat.core.manifest import read_json, write_json
from heliostat.engine import checkpoints

RESULT = "result.json"


def result_of(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """What the training with these settings has reached; empty for nothing, or when `result.json` is of other settings."""
    result = read_json(folder / RESULT) or {}
    return result if result.get("settings", {}) == settings else {}


def as_of(result: dict[str, Any], step: int) -> dict[str, Any] | None:
    """The result that an order until `step` had, though the training has gone on since; None when that order is not done."""
    if not result or (result["step"] < step and not result["over"]):
        return None
    if result["step"] <= step:
        return result
    curve = [point for point in result["curve"] if point["step"] <= step]
    if not curve or curve[-1]["step"] != step:
        return None  # no order ended there
    bests = [best for best in result.get("bests", []) if best["step"] <= step]
    return {**result, "step": step, "over": False, "curve": curve, "best": bests[-1] if bests else None, "bests": bests}


def is_whole(folder: Path, result: dict[str, Any]) -> bool:
    """Whether the checkpoint of the best step that `result` speaks of can be read; without it the training is made again."""
    best = result.get("best")
    return not best or checkpoints.is_valid(checkpoints.at(folder / "best", best["step"]))


def best_step(folder: Path, settings: dict[str, Any], until: int) -> Path | None:
    """The checkpoint of the best step, up to `until`, that `result.json` names; None when it is gone or not whole."""
    best = result_of(folder, settings).get("best")
    if not best or best["step"] > until:
        return None
    found = checkpoints.at(folder / "best", best["step"])
    return found if checkpoints.is_valid(found) else None


def newest(folder: Path, settings: dict[str, Any], until: int) -> str | None:
    """Name of the checkpoint from which the training with these settings goes on to `until`; None is the start."""
    for found in checkpoints.valid(folder / "latest"):
        facts = checkpoints.facts(found)
        if facts["step"] <= until and facts.get("settings", {}) == settings:
            return (
                found.name if is_whole(folder, facts) else None
            )  # without its best step only the same training from its start has it again
    return None


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
