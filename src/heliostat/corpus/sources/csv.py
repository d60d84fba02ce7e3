"""Tables as comma- or tab-separated text (RFC 4180), with a header line."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from heliostat.corpus.lines import Line, excerpt, read_lines
from heliostat.corpus.sources.base import Bad, Base, Row


class Csv(Base):
    """CSV and TSV files with a header line, plain or gzip; quoted fields may hold line ends."""

    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".csv.gz", ".tsv.gz")

    delimiter: str | None = Field(None, min_length=1, max_length=1)
    """What stands between fields; None is a tab in .tsv files and a comma in others."""

    def peek(self, file: Path) -> list[str]:
        first = next(self._records(file), None)
        return [name.strip() for name in first[1]] if first and isinstance(first[1], list) else []

    def rows(self, file: Path) -> Iterator[Row | Bad]:
        records = self._records(file)
        header = next(records, None)
        if header is None:
            return
        names = header[1]
        if isinstance(names, Bad):
            yield names
            names = []
        names = [name.strip() for name in names]
        for line, fields in records:
            if isinstance(fields, Bad):
                yield fields
            elif len(fields) != len(names):
                yield Bad(line, "wrong_column_count", excerpt(" | ".join(fields)))
            else:
                yield Row(line, dict(zip(names, fields, strict=True)))

    def _records(self, file: Path) -> Iterator[tuple[int, list[str] | Bad]]:
        """(first line, fields or what is wrong) of every record; blank lines are none."""
        delimiter = self.delimiter or ("\t" if file.name.removesuffix(".gz").endswith(".tsv") else ",")
        lines = read_lines(file, self.encodings, self.max_row_bytes)
        return records(lines, delimiter, self.max_row_bytes)


def records(lines: Iterator[Line], delimiter: str, max_bytes: int) -> Iterator[tuple[int, list[str] | Bad]]:
    """Fields of every record of `lines`, with the number of its first line.

    A quote that is never closed, or closed in the middle of a field, costs the one line it stands in: reading goes on
    at the line after it.
    """
    csv.field_size_limit(max_bytes)
    again: deque[Line] = deque()  # lines that were read ahead inside quotes that turned out to be broken
    while True:
        first = again.popleft() if again else next(lines, None)
        if first is None:
            return
        if not first.text.strip() and not first.bad:
            continue
        taken = [first]
        try:
            fields = next(csv.reader(_feed(taken, again, lines, max_bytes), delimiter=delimiter, strict=True))
        except (csv.Error, StopIteration):
            again.extendleft(reversed(taken[1:]))
            yield first.number, Bad(first.number, first.bad or "broken_quotes", excerpt(first.text))
            continue
        bad = next((line.bad for line in taken if line.bad), None)
        yield first.number, Bad(first.number, bad, excerpt(first.text)) if bad else fields


def _feed(taken: list[Line], again: deque[Line], lines: Iterator[Line], max_bytes: int) -> Iterator[str]:
    """Text of the line in `taken`, then, as long as a quoted field is open, of the lines after it."""
    size = len(taken[0].text)
    yield taken[0].text + "\n"
    while size <= max_bytes:
        line = again.popleft() if again else next(lines, None)
        if line is None:
            return
        taken.append(line)
        if line.bad == "too_long":
            return
        size += len(line.text) + 1
        yield line.text + "\n"
