"""Contract of filters."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from heliostat.core.family import Member

Row = dict[str, Any]


class Base(Member):
    """Looks at one row at a time, before duplicates are looked for; the same row always gets the same answer."""

    hides: ClassVar[bool] = False
    """Whether it takes out of the text what nothing may learn: refused where a model reads something else than the text."""
    rewrites: ClassVar[bool] = False
    """Whether it changes texts and drops none: it is then applied to every text of a row, and not to `text` alone."""

    @abstractmethod
    def apply(self, row: Row) -> Row | str:
        """The row, changed or not, or the reason word why it is dropped. `row` itself is left as it is."""

    def changed(self, text: str) -> str:
        """One text as a filter that rewrites leaves it."""
        row = self.apply({"text": text})
        assert not isinstance(row, str), f"{self.name()} rewrites, and dropped a text as {row}"
        return row["text"]

    def problems(self) -> list[str]:
        """Why this filter cannot work here; empty when it can."""
        return []
