"""`heliostat doctor`: is this machine fit for a run? Each check says what it found and, when it is not well, what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.text import Text

from heliostat.commands.page import page
from heliostat.commands.plan import size
from heliostat.core.errors import HeliostatError, RunFailed
from heliostat.core.provenance import memory_bytes, version

NEEDED = ("ray", "torch", "transformers", "deepspeed", "peft", "pyarrow", "numpy", "pydantic", "scikit-learn", "rensa", "tensorboard")
DISK_BYTES, MEMORY_BYTES, SHARED_BYTES = 10e9, 4e9, 2e9
MARKS = {"ok": ("✓", "green"), "note": ("·", "yellow"), "bad": ("✗", "bold red")}


@dataclass(frozen=True)
class Finding:
    """One check's answer."""

    state: Literal["ok", "note", "bad"]
    what: str
    told: str


def doctor(*, address: str | None, train: bool) -> None:
    """Print every finding as it comes; `RunFailed` when one of them is bad."""
    out = page()
    bad = 0
    for finding in findings(address or os.environ.get("RAY_ADDRESS"), train):
        mark, style = MARKS[finding.state]
        out.print(Text.assemble((mark, style), (f" {finding.what:<10} ", "bold"), finding.told))
        bad += finding.state == "bad"
    if bad:
        raise RunFailed(f"{bad} check(s) found something that has to be mended before a run.")


def findings(address: str | None, train: bool) -> Iterator[Finding]:
    """Every check, cheap ones first."""
    yield check_python(sys.version_info[:3])
    yield from check_packages()
    yield check_compiler()
    yield from check_room(Path.cwd())
    yield check_devices()
    yield check_auth()
    if address:
        yield check_cluster(address)
    if train:
        yield check_training()


def check_python(found: tuple[int, ...]) -> Finding:
    """Is Python new enough?"""
    told = f"{'.'.join(map(str, found))} on {platform.system()} {platform.machine()}"
    return Finding("ok", "python", told) if found >= (3, 11) else Finding("bad", "python", f"{told}; 3.11 or newer is needed")


def check_packages() -> Iterator[Finding]:
    """Is everything installed, and in the versions that were tested?"""
    missing = [name for name in NEEDED if version(name) is None]
    if missing:
        yield Finding("bad", "packages", f"not installed: {', '.join(missing)}. Install with: pip install -c constraints.txt heliostat")
        return
    yield Finding("ok", "packages", ", ".join(f"{name} {version(name)}" for name in NEEDED))
    other = untested()
    if other:
        yield Finding(
            "note", "versions", f"not the tested ones: {'; '.join(other)}. Install with -c constraints.txt when something goes wrong"
        )


def untested() -> list[str]:
    """Packages whose version is not the one in constraints.txt, when the file is there (in a checkout)."""
    file = Path(__file__).parents[3] / "constraints.txt"
    if not file.exists():
        return []
    tested = dict(line.split("==") for line in file.read_text().splitlines() if "==" in line)
    lower = {name.lower(): wanted for name, wanted in tested.items()}
    pairs = [(name, (version(name) or "").split("+")[0], lower.get(name)) for name in NEEDED]
    return [f"{name} {found} (tested: {wanted})" for name, found, wanted in pairs if wanted and found != wanted]


def check_compiler() -> Finding:
    """DeepSpeed builds some of its parts when they are first used."""
    there = [name for name in ("g++", "ninja") if shutil.which(name) or (name == "ninja" and version("ninja"))]
    if len(there) == 2:
        return Finding("ok", "compiler", "g++ and ninja are here")
    lacking = " and ".join(sorted({"g++", "ninja"} - set(there)))
    needed = "only DeepSpeed's offloading to CPU memory needs a compiler. Debian: apt install g++ ninja-build"
    return Finding("note", "compiler", f"{lacking} not found; {needed}")


def check_room(folder: Path) -> Iterator[Finding]:
    """Disk, memory and shared memory."""
    free = shutil.disk_usage(folder).free
    low = "; a sweep's checkpoints and Ray's files want 10 GB"
    yield Finding("ok" if free >= DISK_BYTES else "note", "disk", f"{size(free)} free in {folder}" + ("" if free >= DISK_BYTES else low))
    memory = memory_bytes()
    low = "; small models only"
    yield Finding("ok" if memory >= MEMORY_BYTES else "note", "memory", size(memory) + ("" if memory >= MEMORY_BYTES else low))
    shared = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").exists() else 0
    low = "; Ray then keeps objects on disk, which is slower. In a container: --shm-size=4g"
    yield Finding("ok" if shared >= SHARED_BYTES else "note", "/dev/shm", f"{size(shared)} free" + ("" if shared >= SHARED_BYTES else low))


def check_devices() -> Finding:
    """CPUs and GPUs."""
    from heliostat.engine.checkup import devices

    found = devices()
    cores = f"{len(os.sched_getaffinity(0))} CPU cores"
    if found["gpus"]:
        return Finding("ok", "devices", f"{cores}; {len(found['gpus'])} GPU: {', '.join(found['gpus'])} (CUDA {found['cuda']})")
    return Finding("ok", "devices", f"{cores}; no GPU, trainings run on CPU over gloo")


def check_auth() -> Finding:
    """How Ray keeps strangers out."""
    from heliostat.engine.checkup import token_file

    mode = os.environ.get("RAY_AUTH_MODE", "unset: tokens for a local Ray, none for `ray start` without a token file")
    found = token_file()
    if found is None:
        return Finding("ok", "ray auth", f"mode {mode}; no token file yet (ray get-auth-token --generate makes one)")
    path, is_open = found
    if is_open:
        return Finding(
            "note", "ray auth", f"mode {mode}; others on this machine can read the token {path}. Close it with: chmod 600 {path}"
        )
    return Finding("ok", "ray auth", f"mode {mode}; token in {path}")


def check_cluster(address: str) -> Finding:
    """Does the cluster answer, and with our version of Ray?"""
    from heliostat.engine.checkup import reach

    found = reach(address)
    if isinstance(found, str):
        return Finding("bad", "cluster", f"{address}: {found}")
    resources = found["resources"]
    room = f"{found['nodes']} node(s), {resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs"
    return Finding("ok", "cluster", f"{address}: Ray {found['ray']}, as here; {room}")


def check_training() -> Finding:
    """A tiny model, really trained: Ray, a gang, DeepSpeed, checkpoints, export, report."""
    from heliostat.commands.request import Request
    from heliostat.commands.run import finished
    from heliostat.commands.tiny import write_project

    folder = Path(tempfile.mkdtemp(prefix="heliostat-doctor-"))
    began = time.monotonic()
    try:
        report = finished(Request(write_project(folder), storage=folder / "runs"))
    except HeliostatError as error:
        return Finding("bad", "training", f"the tiny training failed: {error}\n             Its folder is kept: {folder}")
    seconds = time.monotonic() - began
    shutil.rmtree(folder, ignore_errors=True)
    return Finding("ok", "training", f"a tiny model went from data to report in {seconds:.0f} s ({report.summary()})")
