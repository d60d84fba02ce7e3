"""Polynomial decay: (1 - progress) to a power, as BERT (power 1) and DeepLab (power 0.9) were trained."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from heliostat.train.schedules.base import Base


class Polynomial(Base):
    """Warm up, then fall to `floor` as a power of what is left."""

    power: float = Field(2.0, gt=0, le=20)
    """1 is a line; above it, the rate falls fast at first and slowly later."""
    floor: float = Field(0.0, ge=0, le=1)
    """Share of the peak that is left at the end."""

    def after_warmup(self, progress: float, merits: Sequence[float]) -> float:
        return self.floor + (1.0 - self.floor) * (1.0 - min(1.0, progress)) ** self.power
