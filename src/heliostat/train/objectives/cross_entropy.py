"""Cross-entropy with label smoothing (Szegedy et al., 2016)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from heliostat.train.objectives.base import Base


class CrossEntropy(Base):
    """Cross-entropy with the true label, optionally smoothed."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target mass spread evenly over all labels."""

    def per_unit(self, units: dict[str, Any]) -> Any:
        import torch.nn.functional as F

        return F.cross_entropy(units["logits"].float(), units["labels"], reduction="none", label_smoothing=self.label_smoothing)
