"""Regularised dropout (Liang et al., 2021, arXiv:2106.14448)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from heliostat.train.regularizers.base import Base

KINDS = ("labels", "tags", "likelihood", "numbers")


class RDrop(Base):
    """Two passes with different dropout must agree: the mean of their losses, and the divergence between their answers."""

    passes: ClassVar[int | None] = 2
    alpha: float = Field(1.0, gt=0)
    """Weight of the divergence: the mean of both Kullback-Leibler divergences, for a regression the squared difference."""

    def total(self, objective: Any, forward: Any, batch: dict[str, Any]) -> Any:
        one, other = forward(batch), forward(batch)
        apart_U = divergence(one["logits"].float(), other["logits"].float())
        return 0.5 * (objective.weighted(one) + objective.weighted(other)) + self.alpha * (apart_U * one["weight"]).sum()

    def problems(self, task: Any) -> list[str]:
        if task.answers_are in KINDS:
            return []
        return [f"r_drop compares one class or number per unit, and {task.name()} answers with {task.answers_are}. Use fgm, pgd or freelb."]


def divergence(one_UC: Any, other_UC: Any) -> Any:
    """How far two answers are apart, [U]."""
    import torch.nn.functional as F

    if one_UC.shape[-1] == 1:
        return (one_UC - other_UC).square().sum(-1)
    one, other = F.log_softmax(one_UC, dim=-1), F.log_softmax(other_UC, dim=-1)
    both = F.kl_div(one, other, reduction="none", log_target=True) + F.kl_div(other, one, reduction="none", log_target=True)
    return 0.5 * both.sum(-1)
