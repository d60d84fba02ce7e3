"""Disk for checkpoints: how much a sweep uses, and whose checkpoints go when a budget is reached.

A checkpoint that is gone costs time and nothing else: a training without one begins at its start and gives the same weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PARTS = ("latest", "best")
GB = 10**9


@dataclass
class Room:
    """Bytes of every trial's checkpoints below `folder`; `limit` is the budget, None is off."""

    folder: Path
    limit: float | None
    used: dict[int, dict[str, int]] = field(default_factory=dict)
    total: int = 0
    peak: int = 0
    largest: int = 0
    """Largest checkpoints of one trial so far: what the next job may need."""

    def measure(self, trial: int) -> None:
        """A trial has saved."""
        self.total -= sum(self.used.get(trial, {}).values())
        self.used[trial] = {part: bytes_below(self.folder / trial_name(trial) / part) for part in PARTS}
        own = sum(self.used[trial].values())
        self.total += own
        self.largest, self.peak = max(self.largest, own), max(self.peak, self.total)

    def make(self, jobs: int, worst_first: Sequence[int], running: Collection[int], best: Collection[int]) -> None:
        """Make room for `jobs` trials that are about to save. Paused trials lose their state, the worst first; then all but the
        `best` lose the weights of their best step. `worst_first` begins with the trials that failed."""
        if not self.lacks(jobs):
            return
        paused = [n for n in worst_first if n not in running]
        for part in PARTS:
            for number in paused:
                if not self.lacks(jobs):
                    return
                if not (part == "best" and number in best):
                    self.drop(number, part)

    def lacks(self, jobs: int) -> bool:
        """Whether `jobs` trials that are about to save may need more than the budget has left."""
        return self.limit is not None and self.total + jobs * self.largest > self.limit

    def beside(self, folders: Iterable[Path]) -> None:
        """Other trainings' checkpoints are there together with all that the trials still have."""
        self.peak = max(self.peak, self.total + sum(bytes_below(folder / part) for folder in folders for part in PARTS))

    def drop(self, number: int, part: str) -> None:
        """A trial loses its state (latest) or the weights of its best step (best)."""
        gone = self.used.get(number, {}).pop(part, 0)
        if gone:
            shutil.rmtree(self.folder / trial_name(number) / part, ignore_errors=True)
            self.total -= gone


def trial_name(number: int) -> str:
    """trial-0007."""
    return f"trial-{number:04d}"


def bytes_below(folder: Path) -> int:
    """Bytes of all files below `folder`; 0 when it is not there."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) if folder.exists() else 0
