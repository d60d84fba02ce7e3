"""Checkpoints that are whole or not there.

temp folder -> files of every rank, each with its bytes and sha256 -> fsync -> `MANIFEST.json` (step, world size, those facts,
and a seal over all of that) -> rename. "Latest" is found by scanning for valid manifests, never stored as truth; an invalid
one is kept aside as `.corrupt` and the one before it is used. Tensors are safetensors, all else is JSON: nothing that is
opened can run code.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heliostat.core.manifest import fingerprint, read_json, sha256_file, sync, write_json
from heliostat.engine import tensorfile

MANIFEST = "MANIFEST.json"
WEIGHTS = "weights.safetensors"
PREDICTIONS = "predictions.npy"
PATTERN = re.compile(r"^step-(\d{8})$")
FORMAT = 5
"""Of what is in a checkpoint's folder; one of another format is as good as none."""


@dataclass(frozen=True)
class Content:
    """What one rank writes: weights (CPU tensors by name) and predictions are rank 0's, states what `engine.states.collect` gave it."""

    weights: dict[str, Any] | None = None
    states: tuple[dict[str, Any], dict[str, Any]] | None = None
    predictions: np.ndarray | None = None


def begin(places: Sequence[tuple[Path, int]], group: Any) -> None:
    """Make room for checkpoints, each a (folder, step), that every rank is about to write."""
    if group.rank == 0:
        for folder, step in places:
            shutil.rmtree(unfinished(folder, step), ignore_errors=True)
            unfinished(folder, step).mkdir(parents=True)
    group.barrier()


def write(folder: Path, step: int, content: Content, facts: dict[str, Any], meeting: Any) -> Path:
    """Write this rank's part of a checkpoint that was begun; its folder. `meeting` has `rank`, `world` and `gather()`: rank 0 is
    given what everyone wrote, and finishes."""
    final, temporary = at(folder, step), unfinished(folder, step)
    written = []
    if content.weights is not None and meeting.rank == 0:
        written.append((WEIGHTS, tensorfile.write(temporary / WEIGHTS, content.weights, {"step": str(step)})))
    if content.states is not None:
        tensors, notes = content.states
        name = f"states-{meeting.rank:05d}.safetensors"
        written.append((name, tensorfile.write(temporary / name, tensors, {"notes": json.dumps(notes)})))
    if content.predictions is not None and meeting.rank == 0:
        np.save(temporary / PREDICTIONS, content.predictions)
        written.append(_told(temporary / PREDICTIONS))
    parts = meeting.gather(written)
    if meeting.rank == 0:
        files = dict(sorted((name, fact) for each in parts for name, fact in each))
        manifest = {"format": FORMAT, "step": step, "world": meeting.world, "files": files, **facts}
        write_json(temporary / MANIFEST, {**manifest, "seal": fingerprint(manifest)}, durable=False)
        sync(temporary / MANIFEST)
        sync(temporary)
        _put_in_place(temporary, final)
    return final


def _told(path: Path) -> tuple[str, dict[str, Any]]:
    """A file's name and what the manifest says of it, once it is on disk."""
    sync(path)
    return path.name, {"bytes": path.stat().st_size, "sha256": sha256_file(path)}


def _put_in_place(temporary: Path, final: Path) -> None:
    """Rename; a checkpoint of the same step gives way only then."""
    before = final.with_name(f".{final.name}.old")
    shutil.rmtree(before, ignore_errors=True)
    if final.exists():
        final.rename(before)
    temporary.rename(final)
    sync(final.parent)
    shutil.rmtree(before, ignore_errors=True)


def at(folder: Path, step: int) -> Path:
    """Where the checkpoint of `step` is."""
    return folder / f"step-{step:08d}"


def unfinished(folder: Path, step: int) -> Path:
    """Where it is written."""
    return folder / f".step-{step:08d}.tmp"


def latest(folder: Path, *, repair: bool = True) -> Path | None:
    """The newest valid checkpoint below `folder`."""
    return next(valid(folder, repair=repair), None)


def valid(folder: Path, *, repair: bool = True) -> Iterator[Path]:
    """The valid checkpoints below `folder`, newest first; broken ones are renamed `.corrupt` when `repair` is set."""
    for checkpoint in sorted((p for p in folder.glob("step-*") if PATTERN.match(p.name)), reverse=True):
        if is_valid(checkpoint):
            yield checkpoint
        elif repair:
            aside = checkpoint.with_name(checkpoint.name + ".corrupt")
            shutil.rmtree(aside, ignore_errors=True)
            checkpoint.rename(aside)


def is_valid(checkpoint: Path) -> bool:
    """Whether the manifest is as it was written, and every file it names is there with its bytes and hash."""
    manifest = read_json(checkpoint / MANIFEST)
    if not isinstance(manifest, dict) or manifest.pop("seal", None) != fingerprint(manifest) or manifest.get("format") != FORMAT:
        return False
    for name, fact in manifest["files"].items():
        path = checkpoint / name
        if not path.is_file() or path.stat().st_size != fact["bytes"] or sha256_file(path) != fact["sha256"]:
            return False
    return True


def facts(checkpoint: Path) -> dict[str, Any]:
    """The manifest of a checkpoint that is valid."""
    return json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))


def weights(checkpoint: Path) -> dict[str, Any]:
    """The saved weights by name, on the CPU."""
    from safetensors.torch import load_file

    return load_file(checkpoint / WEIGHTS)


def state_files(checkpoint: Path) -> list[Path]:
    """The files of `engine.states`, one for each rank that wrote one."""
    return [checkpoint / name for name in facts(checkpoint)["files"] if name.startswith("states-")]


def keep_only(folder: Path, keep: set[str]) -> None:
    """Delete every checkpoint below `folder` that is not named in `keep`."""
    for checkpoint in folder.glob("step-*"):
        if checkpoint.name not in keep and PATTERN.match(checkpoint.name):
            shutil.rmtree(checkpoint, ignore_errors=True)
