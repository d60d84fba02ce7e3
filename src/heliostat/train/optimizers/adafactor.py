"""Adafactor: second moments kept as one value for each row and column of a matrix (Shazeer and Stern, 2018, arXiv:1804.04235)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from heliostat.train.optimizers.base import Base


class Adafactor(Base):
    """Next to no state. `lr` is a share of a parameter's own size, and falls with the square root of the steps at the latest."""

    state_bytes: ClassVar[int] = 0
    whole: ClassVar[bool] = True
    lr: float = Field(1e-2, gt=0, lt=10)
    """Peak learning rate, relative to the root mean square of each parameter."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    """Applied to matrices; biases and norms are never decayed."""
    clip: float = Field(1.0, gt=0)
    """Largest root mean square of a parameter's update, beside its rate."""

    def build(self, groups: list[dict[str, Any]], zero: int) -> Any:
        import torch

        decayed = [{**g, "weight_decay": self.weight_decay if g.get("decay", True) else 0.0} for g in groups]
        return torch.optim.Adafactor(decayed, lr=self.lr, d=self.clip)
