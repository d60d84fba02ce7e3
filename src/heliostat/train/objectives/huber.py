"""Huber's loss (Huber, Annals of Mathematical Statistics 35, 1964)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from heliostat.train.objectives.base import Base


class Huber(Base):
    """Squared error near the target, absolute error away from it."""

    takes: ClassVar[tuple[str, ...]] = ("numbers",)

    delta: float = Field(1.0, gt=0)
    """Where one turns into the other, in the target's unit."""

    def per_unit(self, units: dict[str, Any]) -> Any:
        import torch.nn.functional as F

        return F.huber_loss(units["logits"].squeeze(-1).float(), units["labels"], reduction="none", delta=self.delta)
