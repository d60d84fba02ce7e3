"""How large the model is."""

from __future__ import annotations

from typing import Any, ClassVar

from heliostat.tune.objectives.base import Base


class Parameters(Base):
    """Millions of parameters of the whole model, frozen ones included."""

    mode: ClassVar[str] = "min"

    def measure(self, live: Any) -> float:
        return live.parameters() / 1e6
