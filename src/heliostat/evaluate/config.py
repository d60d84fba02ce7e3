"""Settings of evaluation."""

from __future__ import annotations

from pydantic import Field

from heliostat.core.family import In
from heliostat.core.settings import Settings

VERSION = 1


class EvaluateConfig(Settings):
    """What every model is scored on; `domain` (the test split) is always there."""

    general: dict[str, In["evaluate.suites"]] = {}
    """Name to member of evaluate/suites: ground the models were not tuned for."""
    resamples: int = Field(1000, ge=100, le=100_000)
    """Bootstrap resamples behind each 95 % interval."""
    latency_rows: int = Field(64, ge=1)
    """Rows sent one at a time to measure latency."""
