"""Contract of suites."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from heliostat.artifacts import Interval
from heliostat.core.family import Member


class Base(Member):
    """A body of evidence about a model on ground it was not tuned for.

    It sees a model only through the engine, so a base model, a fine-tuned one and an ensemble are measured alike. Larger
    values are better in every metric it gives, so that "how much was lost" is one subtraction.
    """

    gives: ClassVar[tuple[str, ...]]
    """Names of its metrics."""
    reads: ClassVar[tuple[str, ...]] = ("text",)
    """What its rows may hold; a task that reads something else cannot be measured by it."""

    @abstractmethod
    def describe(self) -> str:
        """One sentence: what is measured, on what, and how many rows."""

    @abstractmethod
    def score(self, predictor: Any, *, engine: Any, task: Any, seed: int, resamples: int) -> dict[str, Interval]:
        """Each metric with its 95 % interval. `predictor` is a Model, an Ensemble or a ModelConfig (the base model)."""

    def problems(self) -> list[str]:
        """Why it cannot be scored, as far as its files can tell; each names its option."""
        return []
