"""Settings of evaluation."""

from __future__ import annotations

from pydantic import Field

from heliostat.core.family import In
from heliostat.core.settings import Settings

VERSION = 1
DOMAIN = "domain"
"""The suite that is always there: the test split."""


class EvaluateConfig(Settings):
    """What every model is scored on; `domain` (the test split) is always there."""

    general: dict[str, In["evaluate.suites"]] = {}
    """Name to member of evaluate/suites: ground the models were not tuned for."""
    resamples: int = Field(1000, ge=100, le=100_000)
    """Bootstrap resamples behind each 95 % interval."""
    latency_rows: int = Field(64, ge=1)
    """Rows sent one at a time to measure latency."""
    base_rows: int = Field(10_000, ge=10)
    """Most training rows, evenly spaced, from which the base model's classifier is made."""

    def problems(self) -> list[str]:
        """Why a suite cannot be scored, as far as its files can tell."""
        found = []
        if DOMAIN in self.general:
            found.append(f"evaluate.general: '{DOMAIN}' is the name of the test split's own suite. Choose another name.")
        for name, suite in self.general.items():
            found += [f"evaluate.general.{name}.{problem}" for problem in suite.problems()]
        return found
