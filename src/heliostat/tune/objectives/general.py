"""What the model still knows on general ground."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from heliostat.core.errors import unknown
from heliostat.tune.objectives.base import Base


class General(Base):
    """A metric of a suite of `evaluate.general`, with the weights of now; `max_drop` limits what may be lost against the base model."""

    mode: ClassVar[str] = "max"

    suite: str | None = None
    """Name of the suite in `evaluate.general`; None is the only one there."""
    metric: str | None = None
    """One of the metrics it gives; None is its first."""
    max_drop: float | None = Field(None, ge=0)
    """Largest loss against the base model; a trial beyond it ranks below every trial within. None is no such limit."""

    def resolved(self, suites: dict[str, Any]) -> General:
        """The same with the names it left open, as far as only one answer is there."""
        suite = self.suite or (next(iter(suites)) if len(suites) == 1 else None)
        metric = self.metric or (suites[suite].gives[0] if suite in suites else None)
        return self.model_copy(update={"suite": suite, "metric": metric})

    def lacks(self, suites: dict[str, Any]) -> list[str]:
        """Why `evaluate.general` cannot measure it; one sentence each."""
        if not suites:
            return ["it needs a suite, and evaluate.general has none. Add one, for example python_docs: {use: retrieval}."]
        known = self.resolved(suites)
        if known.suite is None:
            return [f"suite: evaluate.general has several; name one of {', '.join(suites)}."]
        if known.suite not in suites:
            return [f"suite: {unknown('suite', known.suite, suites)}"]
        gives = suites[known.suite].gives
        return [] if known.metric in gives else [f"metric: {unknown(f'{known.suite} metric', str(known.metric), gives)}"]

    def label(self) -> str:
        return f"{self.suite}.{self.metric}"

    def measure(self, live: Any) -> float:
        raise TypeError("the suite it names is measured: see heliostat.tune.weighing")
