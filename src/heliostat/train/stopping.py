"""When a training has learned what it can."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from heliostat.core.settings import Settings


class EarlyStopping(Settings):
    """End a training when validation stops getting better; the best validated step is what counts in any case."""

    patience: int = Field(3, ge=1, le=10_000)
    """Validations in a row without a better one."""
    least_gain: float = Field(0.0, ge=0)
    """A validation is better when the metric gained more than this."""

    def is_over(self, merits: Sequence[float]) -> bool:
        """Whether to end after validations with these merits, in their order; larger is better."""
        best, waited = float("-inf"), 0
        for merit in merits:
            best, waited = (merit, 0) if merit > best + self.least_gain else (best, waited + 1)
        return waited >= self.patience
