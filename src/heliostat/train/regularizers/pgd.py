"""Projected gradient descent on embeddings (Madry et al., 2018, arXiv:1706.06083)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from heliostat.train.regularizers.base import Base, Shifted, gradient, to_length, within


class Pgd(Base):
    """Also learn from the embeddings moved by several small steps that hurt, kept within a ball."""

    steps: int = Field(3, ge=1, le=50)
    """Steps; each costs one forward and one backward pass."""
    step_length: float = Field(0.3, gt=0)
    """L2 length of one step, for each row."""
    epsilon: float = Field(1.0, gt=0)
    """L2 radius of the ball."""
    share: float = Field(1.0, gt=0)
    """Weight of the loss of the moved embeddings beside that of the true ones."""

    def total(self, objective: Any, forward: Any, batch: dict[str, Any]) -> Any:
        shifted = Shifted(forward.module)
        with shifted.by(None):
            clean = objective.weighted(forward.inner(batch))
        delta = within(to_length(gradient(clean, shifted.delta), self.step_length), self.epsilon)
        for _ in range(self.steps - 1):
            with shifted.by(delta.requires_grad_()):
                slope = gradient(objective.weighted(forward.inner(batch)), shifted.delta)
            delta = within(delta.detach() + to_length(slope, self.step_length), self.epsilon)
        with shifted.by(delta):
            return clean + self.share * objective.weighted(forward(batch))
