"""Bytes to decoded lines, one at a time, whatever is in them.

A line that cannot be decoded, holds NUL bytes or is longer than the limit is still one line: it says what is wrong with
it and keeps a short excerpt, and the lines after it are read as if nothing had happened.
"""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from heliostat.core.values import UNDECODABLE

EXCERPT_CHARACTERS = 200
CHUNK_BYTES = 1 << 20


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return UNDECODABLE, error.end


codecs.register_error("heliostat-mark", _mark)


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its line end; `bad` is a reason word, or None."""

    number: int
    text: str
    bad: str | None = None


def open_bytes(file: Path) -> IO[bytes]:
    """The file's bytes, decompressed when its name ends in .gz."""
    return gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")  # type: ignore[return-value]


def read_lines(file: Path, encodings: Sequence[str], max_bytes: int) -> Iterator[Line]:
    """Every line of `file`; memory stays below a small multiple of `max_bytes`."""
    with open_bytes(file) as stream:
        number = 0
        while piece := stream.readline(max_bytes + 1):
            number += 1
            if number == 1:
                piece = piece.removeprefix(codecs.BOM_UTF8)
            if len(piece) > max_bytes and not piece.endswith(b"\n"):
                yield Line(number, excerpt(piece[: 4 * EXCERPT_CHARACTERS].decode(encodings[0], "replace")), "too_long")
                while (more := stream.readline(CHUNK_BYTES)) and not more.endswith(b"\n"):
                    continue
                continue
            text, bad = decode(piece.rstrip(b"\r\n") if piece.endswith(b"\n") else piece, encodings)
            yield Line(number, text, bad)


def decode(data: bytes, encodings: Sequence[str]) -> tuple[str, str | None]:
    """(text, None) by the first encoding that takes all of `data`, or (what could be read, reason word)."""
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return text, "nul_bytes" if "\0" in text else None
    return data.decode(encodings[0], "replace"), "wrong_encoding"


def whole_file_encoding(file: Path, encodings: Sequence[str]) -> str:
    """The first of `encodings` that decodes all of `file`; the first one when none does."""
    for encoding in encodings if len(encodings) > 1 else ():
        decoder = codecs.getincrementaldecoder(encoding)()
        with open_bytes(file) as stream:
            try:
                while chunk := stream.read(CHUNK_BYTES):
                    decoder.decode(chunk)
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                continue
        return encoding
    return encodings[0]


def excerpt(text: str) -> str:
    """At most 200 characters, on one line, safe to write as UTF-8."""
    short = " ".join(text[: 4 * EXCERPT_CHARACTERS].split())[:EXCERPT_CHARACTERS]
    return short.replace("\0", "\u2400").encode("utf-8", "replace").decode("utf-8")
