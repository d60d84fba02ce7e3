"""Contract of samplers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from heliostat.core.family import Member
from heliostat.tune.space import Dimension


class Base(Member):
    """Proposes the settings of a trial; the same arguments always give the same proposal."""

    @abstractmethod
    def suggest(self, number: int, dimensions: dict[str, Dimension], seed: int) -> dict[str, Any]:
        """Config path to value for trial `number` (0-based)."""
