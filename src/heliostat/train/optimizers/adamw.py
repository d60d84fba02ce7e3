"""AdamW: Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from heliostat.train.optimizers.base import Base


class AdamW(Base):
    """AdamW with decoupled weight decay, fused where torch has it."""

    state_bytes: ClassVar[int] = 8
    weight_decay: float = Field(0.01, ge=0, le=1)
    """Applied to matrices; biases and norms are never decayed."""
    beta1: float = Field(0.9, gt=0, lt=1)
    """Decay of the first moment."""
    beta2: float = Field(0.999, gt=0, lt=1)
    """Decay of the second moment."""
    eps: float = Field(1e-8, gt=0)
    """Added to the denominator."""

    def build(self, groups: list[dict[str, Any]], zero: int) -> Any:
        import torch

        decayed = [{**g, "weight_decay": self.weight_decay if g.get("decay", True) else 0.0} for g in groups]
        return torch.optim.AdamW(decayed, lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps, fused=True)
