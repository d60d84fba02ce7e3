"""Knowledge distillation (Hinton, Vinyals and Dean, 2015, arXiv:1503.02531)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from heliostat.train.objectives.base import Base


class Distillation(Base):
    """KL divergence to the teacher at a temperature, mixed with cross-entropy."""

    needs_teacher: Literal[True] = True
    temperature: float = Field(2.0, gt=0, le=100)
    """Both distributions are softened by it; the gradient is scaled back by its square."""
    hard: float = Field(0.3, ge=0, le=1)
    """Share of the cross-entropy with the true label; the rest is the teacher's."""

    def per_unit(self, units: dict[str, Any]) -> Any:
        import torch.nn.functional as F

        t, logits = self.temperature, units["logits"].float()
        teacher = F.log_softmax(units["teacher"] / t, dim=-1)
        student = F.log_softmax(logits / t, dim=-1)
        soft = F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1) * t * t
        return self.hard * F.cross_entropy(logits, units["labels"], reduction="none") + (1 - self.hard) * soft
