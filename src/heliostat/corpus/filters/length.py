"""Length limits."""

from __future__ import annotations

from pydantic import Field

from heliostat.corpus.filters.base import Base, Row


class Length(Base):
    """Drops texts that are too short (too_short) or too long (too_many_characters)."""

    min_characters: int = Field(2, ge=1)
    """Shorter texts are dropped."""
    max_characters: int = Field(200_000, ge=1)
    """Longer texts are dropped."""

    def problems(self) -> list[str]:
        if self.min_characters > self.max_characters:
            return [f"min_characters {self.min_characters} is above max_characters {self.max_characters}: every row would be dropped."]
        return []

    def apply(self, row: Row) -> Row | str:
        count = len(row["text"])
        if count < self.min_characters:
            return "too_short"
        return "too_many_characters" if count > self.max_characters else row
