"""JSON lines, and JSON files that hold one array of objects."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from heliostat.core.values import UNDECODABLE
from heliostat.corpus.lines import CHUNK_BYTES, excerpt, open_bytes, read_lines, whole_file_encoding
from heliostat.corpus.sources.base import Bad, Base, Row

PEEKED_ROWS = 50
NEXT_OBJECT = re.compile(r"[}\]\"\w]\s*,\s*(?=\{)")
"""Where reading goes on after a broken object of an array."""


class Jsonl(Base):
    """JSON lines (one object per line) or a JSON array of objects, plain or gzip."""

    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".json", ".ndjson", ".jsonl.gz", ".json.gz", ".ndjson.gz")

    def peek(self, file: Path) -> list[str]:
        names: dict[str, None] = {}
        for number, row in enumerate(self.rows(file)):
            if isinstance(row, Row):
                names.update(dict.fromkeys(row.values))
            if number >= PEEKED_ROWS:
                break
        return list(names)

    def rows(self, file: Path) -> Iterator[Row | Bad]:
        with open_bytes(file) as stream:
            start = stream.read(CHUNK_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()
        if start.startswith(b"["):
            yield from self._array(file)
            return
        for line in read_lines(file, self.encodings, self.max_row_bytes):
            if line.bad:
                yield Bad(line.number, line.bad, excerpt(line.text))
            elif line.text.strip():
                yield parse(line.number, line.text)

    def _array(self, file: Path) -> Iterator[Row | Bad]:
        encoding = whole_file_encoding(file, self.encodings)
        decoder = codecs.getincrementaldecoder(encoding)("heliostat-mark")
        with open_bytes(file) as stream:
            chunks = iter(lambda: stream.read(CHUNK_BYTES), b"")
            texts = (decoder.decode(chunk) for chunk in chunks)
            yield from objects(texts, self.max_row_bytes)


def parse(line: int, text: str) -> Row | Bad:
    """One JSON object as a row."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Bad(line, "broken_json", excerpt(text))
    return checked(line, value, text)


def checked(line: int, value: Any, text: str) -> Row | Bad:
    """`value`, read from `text`, as a row when it is an object and its bytes could be decoded."""
    if not isinstance(value, dict):
        return Bad(line, "not_an_object", excerpt(text))
    if UNDECODABLE in text:
        return Bad(line, "wrong_encoding", excerpt(text))
    return Row(line, value)


def objects(texts: Iterator[str], max_characters: int) -> Iterator[Row | Bad]:
    """The objects of a JSON array that comes in chunks; `line` is the object's place in the array.

    A broken or overlong object is one bad row: reading goes on at the next place where an object begins.
    """
    decode_one = json.JSONDecoder().raw_decode
    text, at, number, ended = "", 0, 0, False
    text = next(texts, "").lstrip("\ufeff \t\r\n")[1:]
    while True:
        at = _skip(text, at)
        if at < len(text) and text[at] == "]":
            return
        try:
            value, end = decode_one(text, at)
            if end == len(text) and not ended:
                raise ValueError("the value may go on in the next chunk")
        except (ValueError, RecursionError):
            if not ended and len(text) - at <= max_characters:
                more = next(texts, None)
                ended = more is None
                text, at = text[at:] + (more or ""), 0
                continue
            if not text[at:].strip("] \t\r\n"):
                return
            number += 1
            long = len(text) - at > max_characters
            yield Bad(number, "too_long" if long and not NEXT_OBJECT.search(text, at) else "broken_json", excerpt(text[at : at + 1000]))
            text, at, ended = _resume(text, at, texts, ended)
            continue
        number += 1
        yield checked(number, value, text[at:end])
        at = end
        if at > CHUNK_BYTES:
            text, at = text[at:], 0


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at


def _resume(text: str, at: int, texts: Iterator[str], ended: bool) -> tuple[str, int, bool]:
    """(text, place, whether all is read) of the next object after the broken one at `at`."""
    while True:
        found = NEXT_OBJECT.search(text, at + 1)
        if found:
            return text, found.end(), ended
        more = None if ended else next(texts, None)
        if more is None:
            return "", 0, True
        text, at = text[-100:] + more, 0
