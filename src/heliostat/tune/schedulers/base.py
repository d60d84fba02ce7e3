"""Contract of schedulers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from heliostat.core.family import Member
from heliostat.tune.space import Space


@dataclass(frozen=True)
class Job:
    """Train `trial` until it has reached `rung` (0-based). `(trial, rung)` names a job; it is issued once."""

    trial: int
    rung: int
    parent: int | None = None
    """Go on from this other trial's state at the rung before, instead of from the trial's own."""
    settings: dict[str, Any] | None = None
    """The trial's settings from here on; None keeps them."""

    @property
    def key(self) -> tuple[int, int]:
        return self.trial, self.rung


@dataclass(frozen=True)
class Result:
    """What a job gave: the sweep's value, larger is better; None for NaN or an error, which never wins and never goes on."""

    trial: int
    rung: int
    value: float | None


class Course(ABC):
    """One sweep's scheduler at work: it takes results one by one and says which job comes next.

    The same calls in the same order give the same jobs, so a killed sweep is replayed. Cost per call must not grow with
    the number of trials.
    """

    @abstractmethod
    def see(self, result: Result) -> None:
        """A job that was issued has this result."""

    @abstractmethod
    def next(self) -> Job | None:
        """The next job, which is issued with this answer; None, without a trace, while nothing can be decided or all is done."""

    def begun(self, trial: int, settings: dict[str, Any]) -> None:  # noqa: B027  most schedulers do not look at settings
        """Trial `trial` goes on with these settings; called after the answer of `next` that started it, and after one that changed
        its settings."""


class Base(Member):
    """Decides which trial runs next and how far: pure functions over what has been seen. Others do the running."""

    exploits: ClassVar[bool] = False
    """Whether a job may have a `parent`, so that every rung's state must be kept."""

    @abstractmethod
    def rungs(self) -> tuple[float, ...]:
        """Shares of a full training at which a trial is compared, rising, the last one 1.0."""

    @abstractmethod
    def open(self, trials: int, space: Space, seed: int) -> Course:
        """A course for one sweep of `trials` trials. A trial's first job need not be rung 0 (brackets)."""

    def lag(self) -> int | None:
        """lag + 1 imaginary slots decide when a result counts (see tune/decisions.py); None decides on whatever has arrived."""
        return None

    def outline(self) -> Base:
        """A scheduler whose sweeps have about as many jobs of the same lengths and that decides in no time: a plan simulates it."""
        return self

    def problems(self, trials: int, space: Space) -> list[str]:
        """Why it cannot schedule this sweep; one sentence each, beginning with the option."""
        return []


class Reproducible(Base):
    """A scheduler whose decisions depend on results: with a fixed lag, not on when they arrive."""

    decision_lag: int | None = Field(3, ge=0)
    """Decide as if lag + 1 jobs ran side by side, each as long as its share of a training: reproducible, and no wider than that.
    None decides on whatever has arrived: any width, not reproducible."""

    def lag(self) -> int | None:
        return self.decision_lag
