"""Contract of sources."""

from __future__ import annotations

import codecs
import glob
import zlib
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from heliostat.core.errors import UserError, nearest
from heliostat.core.family import Member
from heliostat.core.provenance import content_fingerprint, locate
from heliostat.core.settings import unidentified
from heliostat.corpus.lines import open_bytes

PIECE_BYTES = 4 << 20
PIECE_FILES = 1000
PEEKED_FILES = 20
WIDE = ("utf-16", "utf-32", "utf-7")


@dataclass(frozen=True, slots=True)
class Row:
    """What one row of a file holds, under the file's own column names; `line` is its 1-based line or row number."""

    line: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that cannot be read: where, why (one reason word), and its first characters."""

    line: int
    reason: str
    excerpt: str


class Base(Member):
    """Files of one format: lists them, shows the columns of one, and reads one row by row.

    `rows` never raises because of what a row holds: a broken row is one `Bad`, and all the others are given.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Ends of the file names that are taken when a path is a folder."""
    row_end: ClassVar[bytes] = b"\n"
    """What ends a row in a text file: a plan counts rows by it."""
    is_text: ClassVar[bool] = True
    """Whether the files hold text."""

    paths: list[str] = unidentified(min_length=1)
    """Files, folders or patterns (`data/*.csv`, `data/**/*.csv`); `package:NAME/inside` is inside an installed package."""
    encodings: list[str] = Field(["utf-8"], min_length=1)
    """Tried in order on every row: utf-8, gb18030, latin-1 ...; latin-1 takes any bytes, so it goes last."""
    columns: dict[str, str] = {}
    """What a row needs to the column that holds it, where this source differs from `corpus.columns`."""
    called: str | None = None
    """Name in the `source` column of the corpus; None is the name of the format."""
    max_row_bytes: int = Field(4 << 20, ge=1024)
    """A longer row is dropped as too_long."""

    @field_validator("paths", "encodings", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("encodings")
    @classmethod
    def _known_encodings(cls, value: list[str]) -> list[str]:
        for name in value:
            try:
                normal = codecs.lookup(name).name
            except LookupError:
                raise ValueError(f"'{name}' is not an encoding Python knows; common ones: utf-8, gb18030, big5, latin-1, cp1252") from None
            if normal.startswith(WIDE):
                raise ValueError(f"'{name}' is not read row by row; convert the files first: iconv -f {name} -t utf-8")
        return value

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "content": self.content()}

    def content(self) -> list[str]:
        """One fingerprint of names and bytes for every entry of `paths`; where they lie does not count."""
        return [content_fingerprint(self.expand(path)) for path in self.paths]

    def files(self) -> list[Path]:
        """Every file, in the order of `paths` and by name inside one; a file named twice is read once."""
        return list(dict.fromkeys(file for path in self.paths for file in self.expand(path)))

    def expand(self, path: str) -> list[Path]:
        """The files one entry of `paths` stands for, sorted."""
        place = locate(path)
        if place.is_dir():
            return sorted(f for f in place.rglob("*") if f.is_file() and f.name.endswith(self.suffixes) and not f.name.startswith("."))
        found = [place] if place.is_file() else [Path(p) for p in glob.glob(str(place), recursive=True)]
        return sorted(f for f in found if f.is_file())

    def problems(self) -> list[str]:
        """Why the files cannot be read, each beginning with the setting's name; empty when they can."""
        problems = []
        for path in self.paths:
            try:
                found = self.expand(path)
            except UserError as error:
                problems += [f"paths: {p}" for p in error.problems]
                continue
            if not found:
                problems.append(f"paths: {nothing_at(path, self.suffixes)}")
            elif found[0].stat().st_size == 0 and len(found) == 1:
                problems.append(f"paths: '{found[0]}' is empty (0 bytes).")
            elif self.is_text:
                problems += [f"paths: '{f}' is UTF-16. Convert it: iconv -f utf-16 -t utf-8" for f in found[:PEEKED_FILES] if is_utf16(f)]
        return problems

    def pieces(self) -> list[list[Path]]:
        """Files grouped so that one task has enough to do; a function of the files alone."""
        pieces: list[list[Path]] = []
        size = 0
        for file in self.files():
            if not pieces or size >= PIECE_BYTES or len(pieces[-1]) >= PIECE_FILES:
                pieces.append([])
                size = 0
            pieces[-1].append(file)
            size += file.stat().st_size
        return pieces

    def spans(self, file: Path) -> list[tuple[int, int]] | None:
        """Ranges of rows (from, to) that are read as pieces of their own, all of `file` together; None reads it in one piece."""
        return None

    def span(self, file: Path, start: int, stop: int) -> Iterator[Row | Bad]:
        """The rows of `file` from `start` to before `stop`, counted from 0."""
        return islice(self.rows(file), start, stop)

    def count(self) -> int | None:
        """Rows of all files, where that can be told without reading them; None where they must be counted."""
        return None

    def size(self) -> int:
        """Bytes that are read for all rows."""
        return sum(file.stat().st_size for file in self.files())

    @abstractmethod
    def peek(self, file: Path) -> list[str]:
        """The names of the columns the first rows of `file` have; empty when it has no row."""

    @abstractmethod
    def rows(self, file: Path) -> Iterator[Row | Bad]:
        """Every row of `file`, good or bad, in order, holding one at a time in memory."""


def is_utf16(file: Path) -> bool:
    """Whether the file begins with a UTF-16 byte order mark."""
    with open_bytes(file) as stream:
        try:
            return stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        except (OSError, EOFError, zlib.error):  # damaged: the first read of its rows says so
            return False


def nothing_at(path: str, suffixes: tuple[str, ...]) -> str:
    """A sentence for a path without files: what was given, what is near, what to do."""
    place = locate(path)
    if place.is_dir():
        there = sorted({p.suffix or p.name for p in place.iterdir() if not p.name.startswith(".")})
        return f"the folder '{path}' holds no file that ends in {', '.join(suffixes)}. It holds: {', '.join(there[:10]) or 'nothing'}."
    if place.is_file():
        return f"'{path}' is a file, and a folder is needed here. For files, use csv, jsonl or parquet."
    parent = place.parent
    while not parent.is_dir():
        parent = parent.parent
    names = sorted(p.name for p in parent.iterdir() if not p.name.startswith("."))
    wanted = place.relative_to(parent).parts[0] if parent in place.parents else place.name
    close = None if glob.has_magic(wanted) else nearest(wanted, names)
    what = "no file matches" if glob.has_magic(path) else "there is no file or folder"
    hint = f" Did you mean '{parent / close}'?" if close and close != wanted else ""
    listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return f"{what} '{path}'.{hint} '{parent}' holds: {listed or 'nothing'}."
