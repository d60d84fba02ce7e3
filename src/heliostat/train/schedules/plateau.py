"""Lower the rate when validation stops getting better."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from heliostat.train.schedules.base import Base


class Plateau(Base):
    """Warm up, stay at the peak, and multiply the rate by `reduce` whenever `patience` validations in a row were not better."""

    reduce: float = Field(0.5, gt=0, lt=1)
    """What the rate is multiplied by."""
    patience: int = Field(2, ge=1, le=1000)
    """Validations in a row without a better one before the rate falls; counted anew after each fall."""
    least_gain: float = Field(0.0, ge=0)
    """A validation is better when the metric gained more than this."""
    floor: float = Field(0.01, ge=0, le=1)
    """Share of the peak below which it does not fall."""

    def after_warmup(self, progress: float, merits: Sequence[float]) -> float:
        return max(self.floor, self.reduce ** falls(merits, self.patience, self.least_gain))


def falls(merits: Sequence[float], patience: int, least_gain: float) -> int:
    """How often `patience` validations in a row did not gain more than `least_gain` on the best one before them."""
    best, waited, count = float("-inf"), 0, 0
    for merit in merits:
        if merit > best + least_gain:
            best, waited = merit, 0
            continue
        waited += 1
        if waited == patience:
            waited, count = 0, count + 1
    return count
