"""One piece of a source to a table of rows, good and bad; runs wherever the engine puts it.

Every row that was read is in the table: a bad or filtered one has a `reason` and an `excerpt` and no text.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliostat.corpus.config import CorpusConfig, NearDuplicates
from heliostat.corpus.lines import UNDECODABLE, excerpt
from heliostat.corpus.shingles import key, signatures
from heliostat.corpus.sources.base import Bad, Row

SLICE = "slice:"
MALFORMED, DROPPED = "malformed", "filtered"
DAMAGED = "damaged_file"


def pieces(config: CorpusConfig) -> list[dict[str, Any]]:
    """What there is to read, in order: the number of a source, some of its files, and the number of the first of them among all."""
    found: list[dict[str, Any]] = []
    first = 0
    for i, source in enumerate(config.sources):
        for files in source.pieces():
            found.append({"source": i, "files": [str(f) for f in files], "first": first})
            first += len(files)
    return found


def schema(config: CorpusConfig, beside: NearDuplicates | None = None) -> Any:
    """Columns of a table of rows; `number` is the file's in reading order, `beside` are further signatures."""
    import pyarrow as pa

    near = config.near_duplicates
    fields = {name: pa.string() for name in ("text", "label", "source", "file", "group", "key", "reason", "fault", "excerpt")}
    fields |= {"number": pa.int64(), "line": pa.int64(), "signature": pa.binary(4 * near.permutations if near else 0)}
    fields |= {"beside": pa.binary(4 * beside.permutations)} if beside else {}
    fields |= {SLICE + name: pa.string() for name in config.slices}
    return pa.schema(list(fields.items()))


@dataclass(frozen=True)
class ReadPiece:
    """Reads, checks and filters the rows of one piece."""

    config: CorpusConfig
    beside: NearDuplicates | None = None
    """How further signatures are made; None is off."""

    def __call__(self, piece: dict[str, Any]) -> Any:
        import pyarrow as pa

        source = self.config.sources[piece["source"]]
        called = source.called or source.name()
        rows: list[dict[str, Any]] = []
        for number, file in enumerate(piece["files"], piece["first"]):
            for row in self._file(source, Path(file)):
                rows.append({"source": called, "file": file, "number": number, **row})
        good = [row for row in rows if "reason" not in row]
        for column, near in (("signature", self.config.near_duplicates), ("beside", self.beside)):
            if near:
                _sign(good, column, near)
        return pa.Table.from_pylist(rows, schema=schema(self.config, self.beside))

    def _file(self, source: Any, file: Path) -> Iterator[dict[str, Any]]:
        import pyarrow as pa

        line = 0
        try:
            for row in source.rows(file):
                line = row.line
                yield bad(row) if isinstance(row, Bad) else self._row(source, row)
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            yield bad(Bad(line + 1, DAMAGED, excerpt(f"{type(error).__name__}: {error}")))

    def _row(self, source: Any, row: Row) -> dict[str, Any]:
        text, fault = text_of(row.values.get(self.config.column(source, "text")))
        label = name_of(row.values.get(self.config.column(source, "label")))
        if fault is None and label is None:
            fault = "missing_label"
        if fault or label is None:
            return bad(Bad(row.line, fault or "missing_label", excerpt(text or str(row.values)[:1000])))
        clean: dict[str, Any] = {"text": text, "label": label}
        for each in self.config.filters:
            result = each.apply(clean)
            if isinstance(result, str):
                return bad(Bad(row.line, result, excerpt(text)), DROPPED)
            clean = result
        if not clean["text"].strip():
            return bad(Bad(row.line, "empty_text", excerpt(text)), DROPPED)
        clean |= {SLICE + name: name_of(row.values.get(name)) for name in self.config.slices}
        group = self.config.split.group
        return {"line": row.line, **clean, "group": name_of(row.values.get(group)) if group else None, "key": key(clean["text"])}


def _sign(rows: list[dict[str, Any]], column: str, near: NearDuplicates) -> None:
    """Add the signatures of the texts, some at a time."""
    for start in range(0, len(rows), 1000):
        some = rows[start : start + 1000]
        found = signatures([row["text"] for row in some], near.shingle_words, near.permutations)
        for row, signature in zip(some, found, strict=True):
            row[column] = signature.tobytes()


def bad(row: Bad, fault: str = MALFORMED) -> dict[str, Any]:
    """A row that goes to the quarantine: malformed, or filtered by a rule of the config."""
    return {"line": row.line, "reason": row.reason, "fault": fault, "excerpt": row.excerpt}


def text_of(value: Any) -> tuple[str, str | None]:
    """(text, None), or (what there is, reason word)."""
    if value is None or value != value:
        return "", "missing_text"
    if not isinstance(value, str):
        return str(value)[:1000], "text_not_string"
    if not value.strip():
        return value, "empty_text"
    if "\0" in value:
        return value, "nul_bytes"
    return value, None if is_unicode(value) else "wrong_encoding"


def is_unicode(text: str) -> bool:
    """Whether `text` is free of halves of characters, which JSON escapes can smuggle in."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return UNDECODABLE not in text


def name_of(value: Any) -> str | None:
    """A label (or group, or slice) of any type as its name; None when there is none.

    True is "true", 3 and 3.0 are "3" (a whole-number column with gaps comes as floats), 0.5 is "0.5"; lists and
    objects are no names.
    """
    if value is None or isinstance(value, list | dict | tuple | set) or value != value:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    name = str(value).replace("\0", "").strip()
    return name if name and is_unicode(name) else None
