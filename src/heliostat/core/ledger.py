"""An append-only ledger: one checksummed JSON line per event, durable before `append` returns.

Replaying it gives the state. A torn last line (a crash while writing) is ignored and cut off before the next append; a
line damaged in the middle is a clear refusal, because what follows it cannot be trusted.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from pathlib import Path
from typing import Any

from heliostat.core.errors import RunFailed
from heliostat.core.manifest import canonical


class Ledger:
    """The events in `path`, oldest first. They are read when asked for and not held: memory stays flat as it grows."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        _, whole = replay(path)
        self._file = path.open("ab", buffering=0)
        if self._file.tell() != whole:
            self._file.truncate(whole)
            self._file.seek(whole)

    def read(self) -> list[dict[str, Any]]:
        """Every event on disk."""
        return replay(self.path)[0]

    def append(self, event: dict[str, Any]) -> None:
        """Write one event and wait until it is on disk; `RunFailed` when it cannot be, and then nothing of it is."""
        body = canonical(event)
        line = f"{zlib.crc32(body.encode()):08x} {body}\n".encode()
        before = self._file.tell()
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(before)
            self._file.seek(before)
            raise RunFailed(
                f"Ledger '{self.path}' cannot be written: {error.strerror}. Make room, and run the same command again."
            ) from None

    def close(self) -> None:
        self._file.close()


def replay(path: Path, up_to: int | None = None) -> tuple[list[dict[str, Any]], int]:
    """(events, bytes of whole lines) of the first `up_to` bytes, None for all; `RunFailed` when a line before the last one is damaged."""
    if not path.exists():
        return [], 0
    events: list[dict[str, Any]] = []
    whole = 0
    lines = path.read_bytes()[:up_to].split(b"\n")
    for number, line in enumerate(lines, 1):
        event = _parse(line)
        if event is None:
            if any(lines[number:]):
                where = f"line {number} of {len(lines) - 1}"
                raise RunFailed(f"Ledger '{path}' is damaged at {where}. Restore it from a copy, or start again with --replace.")
            break
        if number == len(lines):  # no newline after it: torn, even if it parses
            break
        events.append(event)
        whole += len(line) + 1
    return events, whole


def _parse(line: bytes) -> dict[str, Any] | None:
    checksum, _, body = line.partition(b" ")
    try:
        if not body or int(checksum, 16) != zlib.crc32(body):
            return None
        return json.loads(body)
    except (ValueError, UnicodeDecodeError):
        return None
