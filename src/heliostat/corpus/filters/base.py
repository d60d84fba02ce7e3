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

    @abstractmethod
    def apply(self, row: Row) -> Row | str:
        """The row, changed or not, or the reason word why it is dropped. `row` itself is left as it is."""

    def problems(self) -> list[str]:
        """Why this filter cannot work here; empty when it can."""
        return []
