"""Contract of samplers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from heliostat.core.family import Member
from heliostat.tune.space import Space


@dataclass(frozen=True)
class Told:
    """What is known of one trial."""

    number: int
    """Its place in the sweep, 0-based; negative for a trial of an earlier sweep."""
    settings: dict[str, Any]
    values: dict[int, float]
    """Rung (0-based) to the sweep's value there, larger is better; a rung that was not reached is absent."""
    state: Literal["running", "paused", "completed", "failed"]
    """failed: NaN or an error; it counts as worse than every trial that gave a number."""


class Proposer(ABC):
    """One sweep's sampler at work. The same calls in the same order give the same proposals, so a killed sweep is replayed."""

    def tell(self, trial: Told) -> None:  # noqa: B027  a sampler that learns nothing needs nothing here
        """A trial changed: it began, gave a value, or failed. Called for every change, with all that is known of the trial."""

    @abstractmethod
    def suggest(self, number: int, rng: np.random.Generator) -> dict[str, Any]:
        """Settings for trial `number`: a value for every dimension that exists. Randomness comes from `rng` alone.

        Asked again for the same number, with other random numbers, when a constraint does not hold.
        """


class Base(Member):
    """Proposes the settings of a trial from what the trials before it gave."""

    @abstractmethod
    def open(self, space: Space, trials: int, seed: int) -> Proposer:
        """A proposer for one sweep of `trials` trials over `space`."""

    def problems(self, space: Space, trials: int) -> list[str]:
        """Why it cannot search this space; one sentence each."""
        return []
