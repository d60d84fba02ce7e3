"""500 trials through faults: killed workers, killed drivers, NaN, exceptions, slow trials, a full disk.

The sweep runs as a person runs it, `heliostat run`, in a process of its own, on a small file system when one can be mounted.
Afterwards every trial has exactly one end, no job was done twice, and the machine is as it was before.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from bench.figures import figure
from heliostat.commands.tiny import write_project
from heliostat.core.ledger import replay

TRIALS = 500
DRIVER_KILLS, WORKER_KILLS, FULL_DISKS = 3, 6, 2
DISK_MB = 400
EVERY_S = (6.0, 14.0)
LIMIT_S = 3000
SPARE_MB = 300
"""What the rest of the machine may take meanwhile; one gang that is left holds more."""
FAULTS = ["none"] * 13 + ["nan"] * 3 + ["exception"] * 2 + ["slow"]


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of `DISK_MB` at `folder`; False where none can be mounted."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], capture_output=True, check=False)
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def project(folder: Path) -> Path:
    """A config whose trials have faults."""
    space = {
        "train.optimizer.lr": {"log_uniform": [3e-4, 3e-2]},
        "train.objective.fault": {"choice": FAULTS},
    }
    tune = {"trials": TRIALS, "space": space, "scheduler": {"use": "asha", "eta": 3, "first": 1 / 9}, "finalists": 2}
    train = {"epochs": 2.0, "batch": 8, "optimizer": {"use": "adamw", "lr": 3e-3}, "validate_every": 1000}
    train |= {"objective": {"use": "bench.faulty"}}
    return write_project(folder, tune=tune | {"max_identical_failures": 10_000}, train=train)


def ray_processes() -> list[psutil.Process]:
    """Processes of Ray on this machine."""
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        words = " ".join(process.info["cmdline"] or [])
        if words.startswith("ray::") or "/ray/core/src/ray" in words or "ray/_private" in words:
            found.append(process)
    return found


def state() -> dict[str, float]:
    """What a sweep must leave as it was."""
    shm = sum(p.stat().st_size for p in Path("/dev/shm").glob("*") if p.is_file())
    memory = psutil.virtual_memory()
    state = {"processes": len(ray_processes()), "shared_memory_mb": shm / 1e6, "descriptors": len(os.listdir("/proc/self/fd"))}
    return state | {"memory_mb": (memory.total - memory.available) / 1e6}


def results(ledger: Path) -> int:
    """Jobs with a result so far."""
    return sum(e["event"] == "result" for e in replay(ledger)[0]) if ledger.exists() else 0


class Saboteur:
    """Faults from outside, at random moments while a sweep makes progress."""

    def __init__(self, disk: Path | None, seed: int = 1):
        self.random, self.disk = random.Random(seed), disk
        self.left = ["driver"] * DRIVER_KILLS + ["worker"] * WORKER_KILLS + ["disk"] * (FULL_DISKS if disk else 0)
        self.random.shuffle(self.left)
        self.done: Counter[str] = Counter()
        self.next_s = 0.0

    def strike(self, driver: subprocess.Popen, progressed: bool) -> None:
        """One fault, when it is time and the sweep is at work."""
        if not self.left or not progressed or time.monotonic() < self.next_s:
            return
        self.next_s = time.monotonic() + self.random.uniform(*EVERY_S)
        fault = self.left.pop()
        self.done[fault] += 1
        print(f"# {fault}", flush=True)
        if fault == "driver":
            os.kill(driver.pid, signal.SIGKILL)
        elif fault == "worker":
            workers = [p for p in ray_processes() if "RayTrainWorker" in " ".join(p.info["cmdline"])]
            if workers:
                self.random.choice(workers).kill()
        elif self.disk:
            self._fill(self.disk)

    @staticmethod
    def _fill(disk: Path) -> None:
        with (disk / "filler").open("wb") as f:
            try:
                while True:
                    f.write(b"x" * (1 << 20))
                    f.flush()
            except OSError:
                time.sleep(3.0)
        (disk / "filler").unlink()


def run_to_the_end(config: Path, storage: Path, saboteur: Saboteur) -> tuple[int, list[float]]:
    """The same command again and again until it ends well: (attempts, largest driver memory in MB of each attempt)."""
    command = [sys.executable, "-m", "heliostat", "run", str(config), "--storage", str(storage)]
    ledger, attempts, peaks, began = storage / "tiny/tune/ledger.jsonl", 0, [], time.monotonic()
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    while True:
        assert time.monotonic() - began < LIMIT_S, f"not done after {LIMIT_S} s: {results(ledger)} results"
        before, attempts, peak = results(ledger), attempts + 1, 0.0
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env)
        watched = psutil.Process(driver.pid)
        while driver.poll() is None:
            time.sleep(0.5)
            try:
                peak = max(peak, watched.memory_info().rss / 1e6)
            except psutil.NoSuchProcess:
                break
            saboteur.strike(driver, results(ledger) > before + 3)
        said = driver.communicate()[1]
        peaks.append(peak)
        print(f"# attempt {attempts}: exit {driver.returncode}, {results(ledger)} results", flush=True)
        if driver.returncode == 0:
            return attempts, peaks
        assert driver.returncode in (-signal.SIGKILL, 4), said
        assert driver.returncode != 4 or "No space left" in said or "space" in said.lower(), said


@pytest.mark.timeout(LIMIT_S + 600)
def test_sweep_soak(tmp_path: Path) -> None:
    """All of it at once, and then the books and the machine are looked at."""
    before = state()
    with small_disk(tmp_path / "disk") as mounted:
        storage = tmp_path / "disk"
        saboteur = Saboteur(storage if mounted else None)
        attempts, peaks = run_to_the_end(project(tmp_path / "project"), storage, saboteur)
        events, _ = replay(storage / "tiny/tune/ledger.jsonl")
        sweep = json.loads((storage / "tiny/tune/manifest.json").read_text())["output"]
    ended = Counter(t["state"] for t in sweep["trials"])
    jobs = Counter((e["trial"], e["rung"]) for e in events if e["event"] == "result")
    assert sum(ended.values()) == TRIALS == len({t["number"] for t in sweep["trials"]})
    assert max(jobs.values()) == 1, "a finished job was run again"
    for trial in sweep["trials"]:
        if trial["settings"]["train.objective.fault"] in ("nan", "exception"):
            assert trial["state"] == "failed"
    time.sleep(5)
    after = state()
    assert after["processes"] <= before["processes"], [p.info["cmdline"] for p in ray_processes()]
    assert after["descriptors"] <= before["descriptors"] + 2
    assert after["shared_memory_mb"] <= before["shared_memory_mb"] + 1
    assert after["memory_mb"] <= before["memory_mb"] + SPARE_MB
    told = ", ".join(f"{n} {state}" for state, n in sorted(ended.items()))
    struck = ", ".join(f"{n} x {fault}" for fault, n in sorted(saboteur.done.items()))
    memory = f"driver memory {min(peaks):.0f} to {max(peaks):.0f} MB"
    against = f"{TRIALS} trials ({told}) through {struck}; {attempts} attempts; {memory}; nothing left behind"
    figure("sweep.soak", [float(len(sweep["trials"]))], f">= {TRIALS}", True, against)
