"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from heliostat.train.optimizers.base import Base


class SGD(Base):
    """SGD with momentum; small state, needs a larger learning rate than AdamW."""

    state_bytes: ClassVar[int] = 4
    momentum: float = Field(0.9, ge=0, lt=1)
    """Decay of the velocity."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    """Applied to matrices; biases and norms are never decayed."""

    def build(self, groups: list[dict[str, Any]], zero: int) -> Any:
        import torch

        decayed = [{**g, "weight_decay": self.weight_decay if g.get("decay", True) else 0.0} for g in groups]
        return torch.optim.SGD(decayed, lr=self.lr, momentum=self.momentum, fused=True)
