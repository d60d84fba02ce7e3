"""Squared error."""

from __future__ import annotations

from typing import Any, ClassVar

from heliostat.train.objectives.base import Base


class MeanSquaredError(Base):
    """Squared error: the model learns the mean of what a row may have, and outliers weigh heavily."""

    takes: ClassVar[tuple[str, ...]] = ("numbers",)

    def per_unit(self, units: dict[str, Any]) -> Any:
        return (units["logits"].squeeze(-1).float() - units["labels"]) ** 2
