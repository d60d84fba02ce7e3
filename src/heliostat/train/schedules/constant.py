"""A constant rate."""

from __future__ import annotations

from heliostat.train.schedules.base import Base


class Constant(Base):
    """Warm up, then stay at the peak."""

    def after_warmup(self, progress: float) -> float:
        return 1.0
