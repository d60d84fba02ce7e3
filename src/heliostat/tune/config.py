"""Settings of a sweep."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from heliostat.core.family import In
from heliostat.core.settings import Settings, unidentified
from heliostat.tune.space import Dimension, parse_space

VERSION = 1


class TuneConfig(Settings):
    """Many trainings with different settings, scheduled so that good ones get more steps."""

    trials: int = Field(8, ge=1, le=100_000)
    """Settings to try."""
    space: dict[str, Any] = {"train.optimizer.lr": {"log_uniform": [1e-5, 3e-4]}}
    """Config path to what may be tried: {log_uniform|uniform|int: [low, high]} or {choice: [...]}."""
    sampler: In["tune.samplers"] = "random"
    """Member of tune/samplers."""
    scheduler: In["tune.schedulers"] = "asha"
    """Member of tune/schedulers."""
    metric: str | None = None
    """Validation metric that ranks trials; None is the task's own."""
    mode: Literal["max", "min"] | None = None
    """Whether larger is better; None is the metric's own."""
    finalists: int = Field(4, ge=1)
    """Best trials whose models are kept and exported."""
    max_identical_failures: int = unidentified(3, ge=1)
    """So many trials that fail with the same error stop the sweep."""

    @field_validator("space")
    @classmethod
    def _space_parses(cls, value: dict[str, Any]) -> dict[str, Any]:
        parse_space(value)
        return value

    def dimensions(self) -> dict[str, Dimension]:
        """The space, parsed."""
        return parse_space(self.space)

    def side_by_side(self) -> int:
        """Trainings that this sweep can keep busy at once, on a cluster that is wide enough."""
        lag = self.scheduler.lag()
        return self.trials if lag is None else min(self.trials, lag + 1)
