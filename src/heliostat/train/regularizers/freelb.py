"""Free large-batch adversarial training (Zhu et al., 2020, arXiv:1909.11764)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from heliostat.train.regularizers.base import Base, Shifted, gradient, to_length, within


class Freelb(Base):
    """Learn from embeddings moved by steps that hurt, with the gradient averaged over all of the steps."""

    steps: int = Field(3, ge=1, le=50)
    """Steps; the graphs of all of them are held at once, so memory grows with it."""
    step_length: float = Field(0.1, gt=0)
    """L2 length of one step, for each row."""
    epsilon: float = Field(0.6, gt=0)
    """L2 radius of the ball."""
    start: float = Field(0.05, ge=0)
    """L2 length of the random move each row begins with."""

    def total(self, objective: Any, forward: Any, batch: dict[str, Any]) -> Any:
        import torch

        shifted = Shifted(forward.module)
        with torch.no_grad(), shifted.by(None):
            forward.inner(batch)
        noise = torch.rand_like(shifted.delta).sub_(0.5) if self.start else torch.zeros_like(shifted.delta)
        delta, losses = to_length(noise, min(self.start, self.epsilon)), []
        for _ in range(self.steps - 1):
            with shifted.by(delta.requires_grad_()):
                losses.append(objective.weighted(forward.inner(batch)))
            slope = gradient(losses[-1], delta)
            delta = within(delta.detach() + to_length(slope, self.step_length), self.epsilon)
        with shifted.by(delta):
            losses.append(objective.weighted(forward(batch)))
        return torch.stack(losses).mean()
