"""Checkpoints that are whole or not there.

temp folder -> files of every rank -> fsync -> barrier -> `MANIFEST.json` (step, world size, bytes and sha256 of each
file, and a seal over all of that) -> rename. "Latest" is found by scanning for valid manifests, never stored as truth;
an invalid one is kept aside as `.corrupt` and the one before it is used. Weights are safetensors; optimiser shards are
opened only when their hashes match the manifest in the run directory.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from heliostat.core.manifest import fingerprint, read_json, sha256_file, sync, write_json

MANIFEST = "MANIFEST.json"
PATTERN = re.compile(r"^step-(\d{8})$")


def save(folder: Path, step: int, *, weights: dict[str, Any] | None, shard: Any, facts: dict[str, Any], group: Any) -> Path:
    """Save a checkpoint of `step` below `folder`; called by every rank.

    `weights` (rank 0 only) are CPU tensors by name, `shard` is this rank's optimiser state or None, `group` has `rank`,
    `world` and `barrier()`. Returns the checkpoint's folder.
    """
    import torch
    from safetensors.torch import save_file

    final = at(folder, step)
    temporary = folder / f".{final.name}.tmp"
    if group.rank == 0:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    group.barrier()
    if weights is not None:
        save_file(weights, temporary / "weights.safetensors", metadata={"step": str(step)})
        sync(temporary / "weights.safetensors")
    if shard is not None:
        path = temporary / f"optimizer-{group.rank:05d}.pt"
        torch.save(shard, path)
        sync(path)
    group.barrier()
    if group.rank == 0:
        files = {p.name: {"bytes": p.stat().st_size, "sha256": sha256_file(p)} for p in sorted(temporary.iterdir())}
        manifest = {"step": step, "world": group.world, "files": files, **facts}
        write_json(temporary / MANIFEST, {**manifest, "seal": fingerprint(manifest)}, durable=False)
        sync(temporary / MANIFEST)
        sync(temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        sync(folder)
    group.barrier()
    return final


def at(folder: Path, step: int) -> Path:
    """Where the checkpoint of `step` is."""
    return folder / f"step-{step:08d}"


def latest(folder: Path, *, repair: bool = True) -> Path | None:
    """The newest valid checkpoint below `folder`; broken ones are renamed `.corrupt` when `repair` is set."""
    found = sorted((p for p in folder.glob("step-*") if PATTERN.match(p.name)), reverse=True)
    for checkpoint in found:
        if is_valid(checkpoint):
            return checkpoint
        if repair:
            aside = checkpoint.with_name(checkpoint.name + ".corrupt")
            shutil.rmtree(aside, ignore_errors=True)
            checkpoint.rename(aside)
    return None


def is_valid(checkpoint: Path) -> bool:
    """Whether the manifest is as it was written, and every file it names is there with its bytes and hash."""
    manifest = read_json(checkpoint / MANIFEST)
    if not isinstance(manifest, dict) or manifest.pop("seal", None) != fingerprint(manifest):
        return False
    for name, fact in manifest["files"].items():
        path = checkpoint / name
        if not path.is_file() or path.stat().st_size != fact["bytes"] or sha256_file(path) != fact["sha256"]:
            return False
    return True


def facts(checkpoint: Path) -> dict[str, Any]:
    """The manifest of a checkpoint that `latest` gave."""
    return json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))


def weights(checkpoint: Path) -> dict[str, Any]:
    """The saved weights by name, on the CPU."""
    from safetensors.torch import load_file

    return load_file(checkpoint / "weights.safetensors")


def shard(checkpoint: Path, rank: int) -> Any:
    """The optimiser state `rank` saved. Its hash was checked against the manifest by `latest`."""
    import torch

    return torch.load(checkpoint / f"optimizer-{rank:05d}.pt", map_location="cpu", weights_only=False)


def keep_only(folder: Path, keep: set[str]) -> None:
    """Delete every checkpoint below `folder` that is not named in `keep`."""
    for checkpoint in folder.glob("step-*"):
        if checkpoint.name not in keep and PATTERN.match(checkpoint.name):
            shutil.rmtree(checkpoint, ignore_errors=True)
