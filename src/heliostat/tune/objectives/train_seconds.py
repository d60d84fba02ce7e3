"""What a training costs."""

from __future__ import annotations

from typing import Any, ClassVar

from heliostat.tune.objectives.base import Base


class TrainSeconds(Base):
    """Seconds of training and validation until the best step; only comparable between trials of one machine."""

    mode: ClassVar[str] = "min"

    def measure(self, live: Any) -> float:
        return live.busy_s
