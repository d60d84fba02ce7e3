"""Text whose words carry a tag behind a slash: 江/nr 泽民/nr 发表/v; The/DT board/NN."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from heliostat.core.tags import marked
from heliostat.core.words import joined
from heliostat.corpus.lines import excerpt, read_lines
from heliostat.corpus.sources.base import Bad, Base, Row
from heliostat.corpus.sources.conll import pattern

CLOSING = frozenset("\"'”’」』）)】]》")
"""What may stand between the end of a sentence and the next one."""


@dataclass
class _Word:
    """One word of a line."""

    text: str
    tag: str
    group: int | None = None
    """The bracket it stands in, by its first word; None is none."""


class TaggedText(Base):
    """Text with a tag behind every word (word/TAG), a text per line, plain or gzip; the columns are tokens, tags and line.

    Brackets with a tag of their own, as in [中央/n 电台/n]nt, are one span where `types` names that tag.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".txt.gz", ".tagged", ".pos")

    separator: str = Field("/", min_length=1)
    """What stands between a word and its tag; where it stands several times, the last one counts."""
    types: dict[str, str] = {}
    """Tag to the type of span its words are, as in {nr: PER, ns: LOC, nt: ORG}; all other words are outside. Empty keeps every tag."""
    join: list[str] = []
    """Tags whose neighbouring words are one word: a family name and a given name, for example."""
    tokens: Literal["words", "characters"] = "words"
    """What one token is: a word, or (in Chinese and Japanese) each of its characters."""
    split_after: list[str] = []
    """Words that end a row, as in [。, ！, ？], so that long texts become sentences; empty keeps a line together."""
    ignore: str | None = None
    """Regular expression of words to pass over, by their beginning and with their tags: "\\d{8}-" for the numbers of paragraphs."""

    @field_validator("ignore")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        return pattern(value)

    def problems(self) -> list[str]:
        found = super().problems()
        lost = [tag for tag in self.join if tag not in self.types]
        return [*found, *(f"join: words tagged '{tag}' are no spans, for `types` does not name it. Add it there." for tag in lost)]

    def peek(self, file: Path) -> list[str]:
        return ["tokens", "tags", "line"] if next(self.rows(file), None) is not None else []

    def rows(self, file: Path) -> Iterator[Row | Bad]:
        passed = re.compile(self.ignore) if self.ignore else None
        for line in read_lines(file, self.encodings, self.max_row_bytes):
            if line.bad:
                yield Bad(line.number, line.bad, excerpt(line.text))
                continue
            items = [item for item in line.text.split() if not (passed and passed.match(item))]
            words = self._words(items)
            if isinstance(words, str):
                yield Bad(line.number, words, excerpt(line.text))
                continue
            for part in self._parts(words):
                yield Row(line.number, {**self._tagged(part), "line": f"{file.name}:{line.number}"})

    def _words(self, items: list[str]) -> list[_Word] | str:
        """The words of a line with what their brackets say, or the reason word why they cannot be read."""
        words: list[_Word] = []
        opened: int | None = None
        for item in items:
            text, found, tag = item.rpartition(self.separator)
            if text.startswith("[") and len(text) > 1 and opened is None:
                text, opened = text[1:], len(words)
            if opened is not None and item.startswith("]") and not found:
                tag, closing = "", item[1:]
            else:
                tag, bracket, closing = tag.partition("]")
                if not found or not text or not tag:
                    return "untagged_word"
                words.append(_Word(text, tag))
                if not bracket:
                    continue
            if opened is None or not closing:
                return "broken_brackets"
            if closing in self.types:
                words[opened:] = [_Word(word.text, closing, opened) for word in words[opened:]]
            opened = None
        return "broken_brackets" if opened is not None else words

    def _parts(self, words: list[_Word]) -> Iterator[list[_Word]]:
        """The rows of one line."""
        start = 0
        for at in range(1, len(words)):
            if self._breaks(words, at):
                yield words[start:at]
                start = at
        if words:
            yield words[start:]

    def _breaks(self, words: list[_Word], at: int) -> bool:
        """Whether a row ends before the word at `at`: after a word of `split_after` and the quotes and brackets that close behind it."""
        if words[at].text in CLOSING or (words[at].group is not None and words[at].group == words[at - 1].group):
            return False
        before = at - 1
        while before > 0 and words[before].text in CLOSING:
            before -= 1
        return words[before].text in self.split_after

    def _tagged(self, words: list[_Word]) -> dict[str, Any]:
        """Tokens and tags of one row."""
        tokens: list[str] = []
        tags: list[str] = []
        for run in self._runs(words):
            own = [word.text for word in run]
            if self.tokens == "characters":
                own = [character for text in own for character in text]
            elif run[0].group is None:
                own = [joined(own)]
            tokens += own
            if self.types:
                tags += marked(len(own), self.types.get(run[0].tag))
            else:
                tags += [run[0].tag] if self.tokens == "words" else marked(len(own), run[0].tag)
        return {"tokens": tokens, "tags": tags}

    def _runs(self, words: list[_Word]) -> Iterator[list[_Word]]:
        """Words that are one word or one span together, or one word alone."""
        start = 0
        for at, word in enumerate(words):
            before = words[at - 1] if at else word
            alike = word.tag == before.tag and word.group == before.group
            if at and not (alike and (word.group is not None or word.tag in self.join)):
                yield words[start:at]
                start = at
        if words:
            yield words[start:]
