"""Binary cross-entropy, for rows with any number of names."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from heliostat.train.objectives.base import Base


class BinaryCrossEntropy(Base):
    """Cross-entropy of each name by itself, applies or not; the mean over names."""

    takes: ClassVar[tuple[str, ...]] = ("names",)

    positive_weight: float = Field(1.0, gt=0, le=1000)
    """A name that applies counts so many times as much as one that does not; above 1 finds more of rare names and errs more often."""

    def per_unit(self, units: dict[str, Any]) -> Any:
        import torch.nn.functional as F

        logits = units["logits"].float()
        weight = logits.new_tensor(self.positive_weight)
        return F.binary_cross_entropy_with_logits(logits, units["labels"], reduction="none", pos_weight=weight).mean(-1)
