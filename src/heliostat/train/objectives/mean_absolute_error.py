"""Absolute error."""

from __future__ import annotations

from typing import Any, ClassVar

from heliostat.train.objectives.base import Base


class MeanAbsoluteError(Base):
    """Absolute error: the model learns the median of what a row may have, and outliers weigh little."""

    takes: ClassVar[tuple[str, ...]] = ("numbers",)

    def per_unit(self, units: dict[str, Any]) -> Any:
        return (units["logits"].squeeze(-1).float() - units["labels"]).abs()
