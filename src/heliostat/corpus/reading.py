"""One piece of a source to a table of rows, good and bad; runs wherever the engine puts it.

Every row that was read is in the table: a bad or filtered one has a `reason` and an `excerpt` and no text.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliostat.core.values import arrow_type, column_of_bytes, name_of
from heliostat.corpus import blobs
from heliostat.corpus.config import CorpusConfig, NearDuplicates
from heliostat.corpus.lines import excerpt
from heliostat.corpus.shingles import key, signatures, whole
from heliostat.corpus.sources.base import Bad, Row

SLICE = "slice:"
MALFORMED, DROPPED = "malformed", "filtered"
DAMAGED = "damaged_file"


def pieces(config: CorpusConfig) -> list[dict[str, Any]]:
    """What there is to read, in order: the number of a source, some of its files (or a span of the rows of one), and the number of the
    first of them among all."""
    found: list[dict[str, Any]] = []
    first = 0
    for i, source in enumerate(config.sources):
        for files in source.pieces():
            spans = source.spans(files[0]) if len(files) == 1 else None
            for span in spans or [None]:
                found.append({"number": len(found), "source": i, "files": [str(f) for f in files], "first": first, "span": span})
            first += len(files)
    return found


def schema(config: CorpusConfig, task: Any, beside: NearDuplicates | None = None) -> Any:
    """Columns of a table of rows; `number` is the file's in reading order, `beside` are further signatures."""
    import pyarrow as pa

    near = config.nearness(task)
    fields = {name: pa.string() for name in ("text", "label", "source", "file", "group", "key", "answer", "reason", "fault", "excerpt")}
    beside_rows = column_of_bytes(task.columns())
    fields |= {name: arrow_type(name) for name in task.columns() if name != beside_rows}
    fields |= blobs.fields() if beside_rows else {}
    fields |= {"number": pa.int64(), "line": pa.int64(), "signature": pa.binary(4 * near.permutations if near else 0)}
    fields |= {"beside": pa.binary(4 * beside.permutations)} if beside else {}
    fields |= {SLICE + name: pa.string() for name in config.slices}
    return pa.schema(list(fields.items()))


@dataclass(frozen=True)
class ReadPiece:
    """Reads, checks and filters the rows of one piece."""

    config: CorpusConfig
    task: Any
    beside: NearDuplicates | None = None
    """How further signatures are made; None is off."""
    folder: Path | None = None
    """Where bytes of pictures and recordings are kept; None keeps none."""

    def __call__(self, piece: dict[str, Any]) -> Any:
        import pyarrow as pa

        source = self.config.sources[piece["source"]]
        called = source.called or source.name()
        rows: list[dict[str, Any]] = []
        column = column_of_bytes(self.task.columns())
        with blobs.Writer(self.folder if column else None, piece["number"]) as writer:
            for number, file in enumerate(piece["files"], piece["first"]):
                for row in self._file(source, Path(file), piece["span"]):
                    if column in row:
                        row |= writer.add(row.pop(column))
                    rows.append({"source": called, "file": file, "number": number, **row})
        good = [row for row in rows if "reason" not in row]
        for signed, near in (("signature", self.config.nearness(self.task)), ("beside", self.beside)):
            if near:
                self._sign(good, signed, near)
        return pa.Table.from_pylist(rows, schema=schema(self.config, self.task, self.beside))

    def _file(self, source: Any, file: Path, span: tuple[int, int] | None) -> Iterator[dict[str, Any]]:
        import pyarrow as pa

        line = 0
        try:
            for row in source.span(file, *span) if span else source.rows(file):
                line = row.line
                yield bad(row) if isinstance(row, Bad) else self._row(source, row)
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            yield bad(Bad(line + 1, DAMAGED, excerpt(f"{type(error).__name__}: {error}")))

    def _row(self, source: Any, row: Row) -> dict[str, Any]:
        held = {name: row.values.get(self.config.column(source, name)) for name in self.task.columns()}
        made = self.task.row(held)
        if isinstance(made, str):
            text = held.get("text")
            return bad(Bad(row.line, made, excerpt(text if isinstance(text, str) and text else told(row.values))))
        shown = made["text"]
        if self.task.reads == "text":
            for each in self.config.filters:
                result = self.task.revised(made, each.changed) if each.rewrites else each.apply(made)
                if isinstance(result, str):
                    return bad(Bad(row.line, result, excerpt(shown)), DROPPED)
                made = result
            if not made["text"].strip():
                return bad(Bad(row.line, "empty_text", excerpt(shown)), DROPPED)
        slices = {SLICE + name: name_of(row.values.get(name)) for name in self.config.slices}
        group = self.config.split.group
        belongs = name_of(row.values.get(group)) if group else None
        content = self.task.content(made)
        kept = {} if column_of_bytes(self.task.columns()) is None else {blobs.CONTENT: whole(content)}
        return {"line": row.line, **made, **slices, **kept, "group": belongs, "key": key(content), "answer": self.task.answer(made)}

    def _sign(self, rows: list[dict[str, Any]], column: str, near: NearDuplicates) -> None:
        """Add the signatures of the rows, some at a time."""
        for start in range(0, len(rows), 1000):
            some = rows[start : start + 1000]
            found = signatures([self.task.content(row) for row in some], near.shingle_words, near.permutations)
            for row, signature in zip(some, found, strict=True):
                row[column] = signature.tobytes()


def told(values: dict[str, Any]) -> str:
    """The beginning of what a source holds, with the size of bytes in their place."""
    return str({name: f"{len(value):,} bytes" if isinstance(value, bytes) else value for name, value in values.items()})[:1000]


def bad(row: Bad, fault: str = MALFORMED) -> dict[str, Any]:
    """A row that goes to the quarantine: malformed, or filtered by a rule of the config."""
    return {"line": row.line, "reason": row.reason, "fault": fault, "excerpt": row.excerpt}
