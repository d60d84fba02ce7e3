"""A constant rate."""

from __future__ import annotations

from collections.abc import Sequence

from heliostat.train.schedules.base import Base


class Constant(Base):
    """Warm up, then stay at the peak."""

    def after_warmup(self, progress: float, merits: Sequence[float]) -> float:
        return 1.0
