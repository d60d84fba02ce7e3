"""An objective that goes wrong on purpose: not a number, an exception, or slow, from a step of the training on."""

from __future__ import annotations

import time
from typing import Any, Literal

from heliostat.train.objectives.base import Base

SLOW_S = 0.2


class Faulty(Base):
    """Cross-entropy until the fault shows."""

    fault: Literal["none", "nan", "exception", "slow"] = "none"
    """What goes wrong."""

    def per_unit(self, units: dict[str, Any]) -> Any:
        import torch.nn.functional as F

        losses = F.cross_entropy(units["logits"].float(), units["labels"], reduction="none")
        if not units["logits"].requires_grad:
            return losses
        if self.fault == "exception":
            raise RuntimeError("a fault on purpose")
        if self.fault == "slow":
            time.sleep(SLOW_S)
        return losses * float("nan") if self.fault == "nan" else losses
