"""Another metric of the task."""

from __future__ import annotations

from typing import Any

from heliostat.core.errors import unknown
from heliostat.core.family import build, names
from heliostat.tune.objectives.base import Base


class Domain(Base):
    """A further member of metrics on the validation rows, beside the one that ranks trials."""

    metric: str = "log_loss"
    """Member of metrics."""

    @property
    def mode(self) -> str:  # type: ignore[override]
        found: Any = build("metrics", self.metric)
        return found.mode

    def label(self) -> str:
        return self.metric

    def measure(self, live: Any) -> float:
        found: Any = build("metrics", self.metric)
        return float(found.value(live.logits_NC, live.targets_N))

    def problems(self) -> list[str]:
        known = "." in self.metric or self.metric in names("metrics")
        return [] if known else [f"metric: {unknown('metric', self.metric, names('metrics'))}"]
