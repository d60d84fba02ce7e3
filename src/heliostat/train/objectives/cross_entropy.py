"""Cross-entropy with label smoothing (Szegedy et al., 2016)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from heliostat.train.objectives._classes import ClassWeighted
from heliostat.train.objectives._logs import log_losses


class CrossEntropy(ClassWeighted):
    """Cross-entropy with the true label, optionally smoothed, optionally weighted by class."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target mass spread evenly over all labels."""

    def per_unit(self, units: dict[str, Any]) -> Any:
        losses_U = log_losses(units["logits"], units["labels"], self.label_smoothing)
        weight_C = self.weight_of(units)
        return losses_U if weight_C is None else losses_U * weight_C[units["labels"]]
