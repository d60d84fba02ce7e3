"""How long an answer takes."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from heliostat.tune.objectives.base import Base


class Latency(Base):
    """Median milliseconds of one row at a time; only comparable between trials of one machine."""

    mode: ClassVar[str] = "min"

    rows: int = Field(32, ge=1, le=10_000)
    """Validation rows that are timed."""

    def measure(self, live: Any) -> float:
        return live.latency_ms(self.rows)
