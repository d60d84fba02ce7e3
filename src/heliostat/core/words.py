"""Words as the text they are read in."""

from __future__ import annotations

import re
from collections.abc import Sequence

UNSPACED = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
"""Characters that have no spaces beside them."""


def joined(words: Sequence[str]) -> str:
    """The words as text: with spaces between them, but none beside Chinese and Japanese characters."""
    return laid_out(words)[0]


def laid_out(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """(The words as text, for each word where it begins and ends there; both ends are one place for a word of white space.)"""
    pieces: list[str] = []
    spans, at, last = [], 0, ""
    for word in words:
        if last and word and not (UNSPACED.match(last) or UNSPACED.match(word)):
            pieces.append(" ")
            at += 1
        pieces.append(word)
        spans.append((at + len(word) - len(word.lstrip()), at + len(word)))
        at, last = at + len(word), word[-1:] or last
    return "".join(pieces), spans
