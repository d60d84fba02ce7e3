"""Lion: the sign of a moving average of the gradient (Chen et al., 2023, arXiv:2302.06675)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from heliostat.train.optimizers.base import Base


class Lion(Base):
    """Every weight moves by the rate alone: half the state of AdamW, and a third to a tenth of its rate."""

    state_bytes: ClassVar[int] = 4
    weight_decay: float = Field(0.1, ge=0, le=10)
    """Applied to matrices; biases and norms are never decayed. Three to ten times AdamW's, for the rate is so much smaller."""
    beta1: float = Field(0.9, gt=0, lt=1)
    """Weight of the average in the direction of an update."""
    beta2: float = Field(0.99, gt=0, lt=1)
    """Decay of the average."""

    def build(self, groups: list[dict[str, Any]], zero: int) -> Any:
        from heliostat.engine.lion import LionUpdate

        decayed = [{**g, "weight_decay": self.weight_decay if g.get("decay", True) else 0.0} for g in groups]
        return LionUpdate(decayed, lr=self.lr, betas=(self.beta1, self.beta2))
