"""Words with their tags, one word per line, a blank line after each sentence (the CoNLL shared tasks, CoNLL-U, Chinese BMES files)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from heliostat.corpus.lines import Line, excerpt, read_lines
from heliostat.corpus.sources.base import Bad, Base, Row

DOCUMENT = "-DOCSTART-"


class Conll(Base):
    """One word and its tag per line, a blank line after each sentence, plain or gzip; the columns are tokens, tags and document."""

    suffixes: ClassVar[tuple[str, ...]] = (".conll", ".conllu", ".conll.gz", ".conllu.gz", ".bio", ".iob", ".iob2", ".bmes", ".bioes")
    row_end: ClassVar[bytes] = b"\n\n"

    token_column: int = 0
    """Place of the word on its line; -1 is the last one."""
    tag_column: int = -1
    """Place of the tag; -1 is the last one."""
    separator: str | None = Field(None, min_length=1)
    """What stands between columns, for example a tab; None is any white space."""
    ignore: str | None = None
    """Regular expression of lines to pass over, by their beginning: "#" for comments, "#|\\d+[-.]\\d" for those and for what is
    no word in CoNLL-U. Lines that begin with -DOCSTART- begin a document and are no words."""

    @field_validator("ignore")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        return pattern(value)

    def peek(self, file: Path) -> list[str]:
        return ["tokens", "tags", "document"] if next(self.rows(file), None) is not None else []

    def rows(self, file: Path) -> Iterator[Row | Bad]:
        passed = re.compile(self.ignore) if self.ignore else None
        document, size = 0, 0
        held: list[Line] = []
        for line in read_lines(file, self.encodings, self.max_row_bytes):
            starts_document = line.text.startswith(DOCUMENT)
            if not line.bad and (starts_document or not line.text.strip()):
                if held:
                    yield self._sentence(held, size, f"{file.name}:{document}")
                held, size = [], 0
                document += starts_document
            elif line.bad or not (passed and passed.match(line.text)):
                size += len(line.text)
                if size <= self.max_row_bytes or not held:  # a sentence without an end is one bad row, and is not held
                    held.append(line)
        if held:
            yield self._sentence(held, size, f"{file.name}:{document}")

    def _sentence(self, lines: list[Line], size: int, document: str) -> Row | Bad:
        """One sentence; what is wrong with one of its lines makes all of it a bad row."""
        tokens, tags = [], []
        for line in lines:
            fields = line.text.split(self.separator)
            try:
                token, tag = fields[self.token_column].strip(), fields[self.tag_column].strip()
            except IndexError:
                return Bad(line.number, line.bad or "missing_column", excerpt(line.text))
            if line.bad or len(fields) < 2 or not tag:
                return Bad(line.number, line.bad or "missing_column", excerpt(line.text))
            tokens.append(token)
            tags.append(tag)
        if size > self.max_row_bytes:
            return Bad(lines[0].number, "too_long", excerpt(" ".join(tokens)))
        return Row(lines[0].number, {"tokens": tokens, "tags": tags, "document": document})


def pattern(value: str | None) -> str | None:
    """`value` when it is a regular expression; `ValueError` that says why it is none."""
    try:
        re.compile(value or "")
    except re.error as error:
        raise ValueError(f"it is no regular expression: {error}") from None
    return value
