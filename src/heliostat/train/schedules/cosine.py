"""Cosine decay (Loshchilov and Hutter, 2017, without restarts)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from heliostat.train.schedules.base import Base


class Cosine(Base):
    """Warm up, then fall along half a cosine to `floor`."""

    floor: float = Field(0.0, ge=0, le=1)
    """Share of the peak that is left at the end."""

    def after_warmup(self, progress: float, merits: Sequence[float]) -> float:
        return self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
