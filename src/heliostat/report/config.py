"""Settings of the report, and the gates a run must pass."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from heliostat.core.errors import UserError
from heliostat.core.settings import Settings

VERSION = 1
COSTS = ("latency_ms_p50", "latency_ms_p99", "params", "bytes")
"""What every model costs, whatever the suite."""


class GateConfig(Settings):
    """A condition on the model that would be shipped; a run whose gate fails exits 3."""

    suite: str = "domain"
    """domain, or the name of a general suite."""
    metric: str
    """A metric of that suite, or latency_ms_p50, latency_ms_p99, params, bytes."""
    min: float | None = None
    """The value must be at least this."""
    max: float | None = None
    """The value must be at most this."""
    max_drop: float | None = None
    """The value may be at most so much worse than the base model's."""

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        given = [name for name in ("min", "max", "max_drop") if getattr(self, name) is not None]
        if len(given) != 1:
            raise UserError(f"a gate on {self.metric} needs exactly one of min, max, max_drop; {given or 'none'} given.")
        return self


class ReportConfig(Settings):
    """What the report says and how strictly it judges."""

    title: str | None = None
    """Heading of the report; None is the run's name."""
    gates: list[GateConfig] = []
    """Conditions the shipped model must meet."""
    max_domain_loss: float = Field(0.03, ge=0, le=1)
    """A smaller model is preferred when it keeps at least (1 - this) of the best domain score."""
    hardest: int = Field(20, ge=0, le=1000)
    """Misclassified rows shown, most confidently wrong first."""
