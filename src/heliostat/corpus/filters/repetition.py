"""Texts that say the same thing again and again (after Rae et al. 2021, Gopher, table A1)."""

from __future__ import annotations

from collections import Counter

from pydantic import Field

from heliostat.corpus.filters.base import Base, Row
from heliostat.corpus.shingles import words


class Repetition(Base):
    """Drops texts that mostly repeat their own lines or word sequences (repetition)."""

    max_line_share: float = Field(0.5, gt=0, le=1)
    """Share of the characters that may stand in lines seen before in the same text."""
    max_ngram_share: float = Field(0.5, gt=0, le=1)
    """Share of the word sequences that may be repeats of earlier ones in the same text."""
    ngram_words: int = Field(5, ge=1)
    """Words in a sequence; a Chinese or Japanese character is a word."""
    min_words: int = Field(30, ge=1)
    """Texts with fewer words are not judged."""

    def apply(self, row: Row) -> Row | str:
        found = words(row["text"])
        if len(found) < self.min_words:
            return row
        lines = [line.strip() for line in row["text"].splitlines() if line.strip()]
        if repeated_share(lines) > self.max_line_share:
            return "repetition"
        ngrams = Counter(zip(*(found[i:] for i in range(self.ngram_words)), strict=False))
        total = sum(ngrams.values())
        return "repetition" if total and 1 - len(ngrams) / total > self.max_ngram_share else row


def repeated_share(lines: list[str]) -> float:
    """Share of all characters in lines that stood before."""
    seen: set[str] = set()
    repeated = 0
    for line in lines:
        repeated += len(line) if line in seen else 0
        seen.add(line)
    return repeated / max(1, sum(map(len, lines)))
