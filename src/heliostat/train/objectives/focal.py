"""Focal loss (Lin et al., 2017, arXiv:1708.02002)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from heliostat.train.objectives._classes import ClassWeighted
from heliostat.train.objectives._logs import log_losses


class Focal(ClassWeighted):
    """Cross-entropy times (1 - p) to a power: what is already answered surely counts little."""

    gamma: float = Field(2.0, ge=0, le=20)
    """The power; 0 is plain cross-entropy."""

    def per_unit(self, units: dict[str, Any]) -> Any:
        losses_U = log_losses(units["logits"], units["labels"])
        missed_U = -(-losses_U).expm1()  # 1 - p of the true label, exact where p is near 1
        focal_U = losses_U * missed_U.clamp(min=1e-12) ** self.gamma
        weight_C = self.weight_of(units)
        return focal_U if weight_C is None else focal_U * weight_C[units["labels"]]
