"""Contract of objectives."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from pydantic import Field

from heliostat.core.family import Member


class Base(Member):
    """One more number a trial reports at every rung, measured in the gang right after the validation there.

    It takes part in the Pareto front. With `weight` it is added to the sweep's value; with a limit, a trial beyond it ranks
    below every trial within.
    """

    mode: ClassVar[str]
    """max or min: which direction is better."""

    weight: float | None = Field(None, gt=0)
    """The sweep's value gains (or, when smaller is better, loses) weight x this number; None adds nothing."""
    limit: float | None = None
    """The worst value allowed: a floor when larger is better, a ceiling when smaller is; None is no limit."""

    @abstractmethod
    def measure(self, live: Any) -> float:
        """The number for the training in `live` (a `heliostat.train.live.Live`): its module, its rows, what it took so far."""

    def label(self) -> str:
        """Its name in the ledger and in the report."""
        return self.name()

    def problems(self) -> list[str]:
        """Why it cannot be measured, as far as files can tell; each names its option."""
        return []
