"""Files that prove something: written atomically, the manifest last.

A manifest is the only proof that a stage completed. Paths inside a run are stored relative to it (`${run}`), so a run
directory can be moved.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

RUN_MARK = "${run}"


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint(value: Any) -> str:
    """16 hex digits that stand for a plain JSON value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def write_atomic(path: Path, text: str, *, durable: bool = True) -> None:
    """Write, fsync, rename, fsync the folder: after a crash the file is whole or absent.

    Not `durable` leaves the moment to the system: after a loss of power the file may be empty or the one before it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        if durable:
            os.fsync(f.fileno())
    temporary.rename(path)
    if durable:
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the renames inside a folder, are on disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_json(path: Path, value: Any, root: Path | None = None, *, durable: bool = True) -> None:
    """Write `value` atomically; paths under `root` are stored relative to it."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    if root is not None:
        text = text.replace(json.dumps(str(root), ensure_ascii=False)[1:-1] + "/", RUN_MARK + "/")
    write_atomic(path, text + "\n", durable=durable)


def read_json(path: Path, root: Path | None = None) -> Any:
    """The value in `path`, or None when it is absent or not whole."""
    try:
        text = path.read_text(encoding="utf-8")
        if root is not None:
            text = text.replace(RUN_MARK + "/", json.dumps(str(root), ensure_ascii=False)[1:-1] + "/")
        return json.loads(text)
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None


def sha256_file(path: Path) -> str:
    """The file's SHA-256 in hex."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
