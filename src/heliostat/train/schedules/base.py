"""Contract of learning-rate schedules."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

from pydantic import Field

from heliostat.core.family import Member


class Base(Member):
    """The learning rate as a pure function of the step and of what was validated before it: a share of the peak, after a linear warm-up."""

    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of all steps over which the rate rises linearly from zero."""

    def factor(self, step: int, total: int, merits: Sequence[float] = ()) -> float:
        """Share of the peak rate for update `step` (0-based) of `total`; in [0, 1].

        `merits` are the metric at the validations so far, in their order, larger is better.
        """
        warm = math.ceil(self.warmup * total)
        if step < warm:
            return (step + 1) / warm
        return self.after_warmup((step - warm) / max(1, total - warm), merits)

    @abstractmethod
    def after_warmup(self, progress: float, merits: Sequence[float]) -> float:
        """Share of the peak when `progress` (0 to 1) of the steps after the warm-up are done."""
