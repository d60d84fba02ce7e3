"""Linear decay to zero."""

from __future__ import annotations

from collections.abc import Sequence

from heliostat.train.schedules.base import Base


class Linear(Base):
    """Warm up, then fall linearly to zero."""

    def after_warmup(self, progress: float, merits: Sequence[float]) -> float:
        return max(0.0, 1.0 - progress)
