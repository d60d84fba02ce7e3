"""Cosine decay with warm restarts: SGDR (Loshchilov and Hutter, 2017, arXiv:1608.03983)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from heliostat.train.schedules.base import Base

LONGEST = 1e9
"""Length of the last cycle at most, in first ones."""


class CosineRestarts(Base):
    """Warm up, then fall along half a cosine to `floor` several times, each time from the peak again."""

    cycles: int = Field(3, ge=1, le=1000)
    """How often it falls."""
    stretch: float = Field(1.0, ge=1, le=10)
    """Each cycle is so many times as long as the one before it."""
    floor: float = Field(0.0, ge=0, le=1)
    """Share of the peak that is left at the end of a cycle."""

    @model_validator(mode="after")
    def _last_cycle_has_a_length(self) -> Self:
        if self.stretch == 1:
            return self
        most = 1 + math.floor(math.log(LONGEST) / math.log(self.stretch) + 1e-9)
        if self.cycles > most:
            told = f"{self.cycles} cycles, each {self.stretch:g} times as long as the one before, leave nothing for the first ones"
            raise ValueError(f"cycles: {told}. Use at most {most}, or a smaller stretch")
        return self

    def after_warmup(self, progress: float, merits: Sequence[float]) -> float:
        lengths = [self.stretch**i for i in range(self.cycles)]
        place = min(1.0, progress) * sum(lengths)
        for i, length in enumerate(lengths):
            if place < length or i == self.cycles - 1:
                return self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, place / length)))
            place -= length
        raise AssertionError("there is at least one cycle")
