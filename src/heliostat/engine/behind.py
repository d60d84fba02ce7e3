"""Writing behind the training: one thread that writes while the next updates are made.

The process group belongs to the training, so threads of different workers meet through small files where they write.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from heliostat.core.manifest import read_json, write_json

LOOK_EVERY_S = 0.02
PATIENCE_S = 10.0
"""Seconds that a worker which closes waits for the files of others: they close too, or are gone."""


class Behind:
    """Writes one thing at a time. What goes wrong is raised by whoever waits next."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="behind")
        self._running: Future[None] | None = None
        self.closing = threading.Event()

    def submit(self, write: Callable[[], None]) -> None:
        """Begin to write, once what came before is written."""
        self.wait()
        self._running = self._threads.submit(write)

    def wait(self) -> None:
        """Wait until everything is written."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def close(self) -> None:
        """Wait as long as it can end; what cannot is left unfinished, and nobody takes it for a checkpoint."""
        self.closing.set()
        self._threads.shutdown(wait=True)
        if self._running is not None and (error := self._running.exception()) is not None:
            print(f"not written: {error}")


class Meeting:
    """What the workers of a group tell its first one through files in `folder`, each once."""

    def __init__(self, group: Any, folder: Path, behind: Behind):
        self.rank, self.world, self._folder, self._closing = group.rank, group.world, folder, behind.closing

    def gather(self, value: Any) -> list[Any]:
        """Every worker's JSON `value` in rank order, on rank 0; the others do not wait."""
        if self.rank:
            write_json(self._place(self.rank), value, durable=False)
            return []
        return [value, *(self._told(rank) for rank in range(1, self.world))]

    def _told(self, rank: int) -> Any:
        place, closing_since = self._place(rank), None
        while (told := read_json(place)) is None:
            if self._closing.is_set():
                closing_since = closing_since or time.monotonic()
                if time.monotonic() - closing_since > PATIENCE_S:
                    raise TimeoutError(f"worker {rank} has not written its part in '{self._folder}'")
            time.sleep(LOOK_EVERY_S)
        place.unlink()
        return told

    def _place(self, rank: int) -> Path:
        return self._folder / f".told-{rank:05d}.json"
