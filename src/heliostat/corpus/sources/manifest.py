"""A table of file names: each row names a picture or a recording and says what is known about it."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeGuard

from pydantic import Field

from heliostat.core.errors import nearest
from heliostat.core.provenance import content_fingerprint
from heliostat.corpus.lines import excerpt
from heliostat.corpus.sources._files import ends, read_file
from heliostat.corpus.sources.base import Bad, Base, Row
from heliostat.corpus.sources.csv import Csv
from heliostat.corpus.sources.jsonl import Jsonl

SPAN_ROWS, MOST_SPANS = 1000, 64
"""Every piece reads the table up to its own rows, so the number of pieces has a limit."""
BYTES = ("image", "audio")


@dataclass(frozen=True)
class Survey:
    """What the tables name, in one look at them."""

    fingerprints: dict[str, str]
    """An entry of `paths` to what stands for its tables and the files they name."""
    rows: dict[Path, int | None]
    """Rows of a table; None when it is damaged and cannot be read to its end."""
    size: int
    """Bytes of the tables and of the files."""


class Manifest(Base):
    """CSV or JSON lines whose rows name files: the bytes of the file are the columns `image` and `audio`, beside the table's own.

    A row whose file is missing is one bad row (missing_file).
    """

    suffixes: ClassVar[tuple[str, ...]] = (*Csv.suffixes, *Jsonl.suffixes)

    file: str = Field("file_name", min_length=1)
    """Column that names the file, relative to the folder of the table."""
    max_row_bytes: int = Field(32 << 20, ge=1024)
    """A larger file, or a longer line of the table, is dropped as too_long."""

    def content(self) -> list[str]:
        return [self._survey.fingerprints[path] for path in self.paths]

    def count(self) -> int | None:
        return sum(rows or 0 for rows in self._survey.rows.values())

    def size(self) -> int:
        return self._survey.size

    def problems(self) -> list[str]:
        found = super().problems()
        for table in [] if found else self.files():
            there = self._table(table).peek(table)
            if there and self.file not in there:
                close = nearest(self.file, there)
                hint = f" Did you mean '{close}'?" if close else ""
                found.append(f"file: '{table.name}' has no column '{self.file}'.{hint} It has: {', '.join(there[:30])}.")
        return found

    def pieces(self) -> list[list[Path]]:
        return [[table] for table in self.files()]

    def spans(self, file: Path) -> list[tuple[int, int]] | None:
        rows = self._survey.rows[file] or 0
        step = max(SPAN_ROWS, -(-rows // MOST_SPANS))
        return [(start, min(start + step, rows)) for start in range(0, rows, step)] or None

    def peek(self, file: Path) -> list[str]:
        there = self._table(file).peek(file)
        return [*there, *(name for name in BYTES if name not in there)] if there else []

    def rows(self, file: Path) -> Iterator[Row | Bad]:
        return self._filled(file, self._table(file).rows(file))

    def span(self, file: Path, start: int, stop: int) -> Iterator[Row | Bad]:
        return self._filled(file, self._table(file).span(file, start, stop))

    def _filled(self, table: Path, rows: Iterator[Row | Bad]) -> Iterator[Row | Bad]:
        """The rows with the bytes of their files; files of other rows are not touched."""
        for row in rows:
            if isinstance(row, Bad):
                yield row
                continue
            name = row.values.get(self.file)
            if not is_name(name):
                yield Bad(row.line, "missing_file_name", excerpt(str(row.values)[:1000]))
                continue
            data = read_file(table.parent / name.strip(), self.max_row_bytes)
            if isinstance(data, str):
                yield Bad(row.line, data, excerpt(name))
            else:
                yield Row(row.line, {**row.values, **dict.fromkeys(BYTES, data)})

    def _table(self, file: Path) -> Base:
        """What reads the table itself."""
        kind = Csv if file.name.endswith(Csv.suffixes) else Jsonl
        return kind(paths=[str(file)], encodings=self.encodings, max_row_bytes=self.max_row_bytes)

    @cached_property
    def _survey(self) -> Survey:
        fingerprints: dict[str, str] = {}
        rows: dict[Path, int | None] = {}
        total = 0
        for path in self.paths:
            tables = self.expand(path)
            digest = hashlib.sha256(content_fingerprint(tables).encode())
            for table in tables:
                rows[table], size = self._surveyed(table, digest)
                total += size + table.stat().st_size
            fingerprints[path] = digest.hexdigest()[:16]
        return Survey(fingerprints, rows, total)

    def _surveyed(self, table: Path, digest: Any) -> tuple[int | None, int]:
        """(rows of a table or None, bytes of the files it names); what stands for them is added to `digest`."""
        count = total = 0
        try:
            for row in self._table(table).rows(table):
                count += 1
                name = row.values.get(self.file) if isinstance(row, Row) else None
                if is_name(name):
                    mark, size = ends(table.parent / name.strip())
                    digest.update(f"{mark}\x00".encode())
                    total += size
        except (OSError, EOFError, zlib.error):  # the stage says so, when it comes to the damaged place
            return None, total
        return count, total


def is_name(value: Any) -> TypeGuard[str]:
    """Whether a value can be the name of a file."""
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value
