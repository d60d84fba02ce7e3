"""Files that are read whole: their bytes, or the reason why there are none, and what stands for a large number of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

ENDS_BYTES = 4096
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif")
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")


def read_file(file: Path, most: int) -> bytes | str:
    """The bytes of a file, or the reason word why it is no row."""
    try:
        with file.open("rb") as stream:
            data = stream.read(most + 1)
    except FileNotFoundError:
        return "missing_file"
    except OSError:
        return "unreadable_file"
    return "too_long" if len(data) > most else data


def sampled_fingerprint(files: Iterable[Path], root: Path) -> str:
    """16 hex digits for names (below `root`), sizes and both ends of `files`: a plan does not read a hundred thousand pictures whole.

    An encoded picture or recording that changes does not keep its size and its last 4 KiB.
    """
    digest = hashlib.sha256()
    for file in files:
        name = file.relative_to(root) if file.is_relative_to(root) else file
        digest.update(f"{name}\x00{ends(file)[0]}\x00".encode())
    return digest.hexdigest()[:16]


def ends(file: Path) -> tuple[str, int]:
    """(what stands for one file's bytes, how many there are); ("", 0) when it cannot be read."""
    digest = hashlib.sha256()
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            digest.update(f"{size}\x00".encode() + stream.read(ENDS_BYTES))
            if size > ENDS_BYTES:
                stream.seek(max(ENDS_BYTES, size - ENDS_BYTES))
                digest.update(stream.read(ENDS_BYTES))
    except OSError:
        return "", 0
    return digest.hexdigest()[:32], size
