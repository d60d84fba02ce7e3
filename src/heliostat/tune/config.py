"""Settings of a sweep."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from heliostat.core.errors import OptionError, UserError
from heliostat.core.family import In
from heliostat.core.ledger import replay
from heliostat.core.settings import Settings, unidentified
from heliostat.tune.space import Space, parse_space

VERSION = 2


class WarmStart(Settings):
    """What an older sweep of the same model found is used by this one."""

    run: str
    """Folder of the older run, or its name in the storage."""
    data: Literal["same", "changed"] = "same"
    """same: its trials are told to the sampler as if they were this sweep's. changed: their values mean little now, so its best
    settings are only tried first."""
    best: int = Field(3, ge=1)
    """With changed data: how many of its best settings are tried first."""
    up_to: int | None = Field(None, ge=0)
    """Bytes of its ledger that are used; None is all there are when this sweep begins, whatever the older one finds afterwards."""

    def identity(self) -> dict[str, Any]:
        """What the older sweep had found, and not where it lies."""
        found = self._found(self.up_to)
        return {"found": found, "up_to": self.up_to, "data": self.data, **({"best": self.best} if self.data == "changed" else {})}

    def as_begun(self, before: dict[str, Any]) -> WarmStart:
        """The same with what the sweep began with whose `identity` was `before`, or else with what there is now."""
        if self.up_to is not None:
            return self
        recorded = before.get("up_to")
        same = recorded is not None and before["found"] == self._found(recorded)
        return self.model_copy(update={"up_to": recorded if same else replay(self._ledger)[1]})

    @property
    def _ledger(self) -> Path:
        return Path(self.run).expanduser() / "tune" / "ledger.jsonl"

    def _found(self, up_to: int | None) -> str | None:
        return hashlib.sha256(self._ledger.read_bytes()[:up_to]).hexdigest()[:16] if self._ledger.exists() else None


class Confirm(Settings):
    """The finalists trained again to the end, so that the winner has an interval and not one lucky run."""

    seeds: int | None = Field(None, ge=2, le=100)
    """Train each finalist with so many new seeds; None uses folds."""
    folds: int | None = Field(None, ge=2, le=20)
    """Train each finalist on so many folds of the train and valid rows; None uses seeds."""
    alpha: float = Field(0.05, gt=0, lt=1)
    """Probability of a difference by chance below which the winner counts as significantly better than the second."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Confirm:
        if (self.seeds is None) == (self.folds is None):
            raise ValueError("give either seeds or folds, for example confirm: {seeds: 3}")
        return self


class Budget(Settings):
    """Limits of a sweep; when one is reached nothing new begins, what runs ends, and the best so far goes on."""

    hours: float | None = Field(None, gt=0)
    """Wall time of the sweep, interruptions left out; None is off."""
    cost: float | None = Field(None, gt=0)
    """Money, at the layout's `cost_per_hour`; None is off."""
    checkpoint_gb: float | None = unidentified(None, gt=0)
    """Disk for checkpoints of paused and best trials (10^9 bytes). The worst paused trials lose theirs first; one that is promoted
    all the same is trained again from its start. None is off."""


class TuneConfig(Settings):
    """Many trainings with different settings, scheduled so that good ones get more steps."""

    trials: int = Field(8, ge=1, le=100_000)
    """Settings to try."""
    space: dict[str, Any] = {"train.optimizer.lr": {"log_uniform": [1e-5, 3e-4]}}
    """Config path to what may be tried: {uniform|log_uniform|int|log_int: [low, high]} or {choice: [...]}; `step` quantises, `when`
    ties it to values of another path."""
    constraints: list[str] = []
    """Conditions between searched values, such as "train.batch * train.epochs <= 64"."""
    first_points: list[dict[str, Any]] = []
    """Settings the first trials try; what one leaves open is drawn."""
    warm_start: WarmStart | None = None
    """An older sweep to begin from."""
    sampler: In["tune.samplers"] = "random"
    """Member of tune/samplers."""
    scheduler: In["tune.schedulers"] = "asha"
    """Member of tune/schedulers."""
    metric: str | None = None
    """Validation metric that ranks trials; None is the task's own."""
    mode: Literal["max", "min"] | None = None
    """Whether larger is better; None is the metric's own."""
    objectives: list[In["tune.objectives"]] = []
    """Members of tune/objectives: what is weighed beside the metric."""
    finalists: int = Field(4, ge=1)
    """Best trials whose models are kept and exported."""
    confirm: Confirm | None = None
    """Train the finalists again with other seeds or on folds; None ranks them by the sweep alone."""
    budget: Budget = Budget()
    """Limits of time, money and disk."""
    max_identical_failures: int = unidentified(3, ge=1)
    """So many trials that fail with the same error stop the sweep."""

    @field_validator("space")
    @classmethod
    def _space_parses(cls, value: dict[str, Any]) -> dict[str, Any]:
        parse_space(value)
        return value

    @model_validator(mode="after")
    def _constraints_parse(self) -> TuneConfig:
        try:
            self.searched()
        except UserError as error:
            raise OptionError(error.problems) from None
        return self

    @model_validator(mode="after")
    def _states_are_kept(self) -> TuneConfig:
        if self.scheduler.exploits and self.budget.checkpoint_gb is not None:
            raise ValueError(
                f"budget.checkpoint_gb: {self.scheduler.name()} goes on from the states of other trials, so none can be given up."
                " Take checkpoint_gb out, or choose asha"
            )
        if self.scheduler.exploits and self.confirm is not None:
            raise ValueError(
                f"confirm: a trial of {self.scheduler.name()} goes on from others, with settings that change on the way: trained again from"
                " its start it is another one. Take confirm out, or choose asha"
            )
        return self

    def searched(self) -> Space:
        """The space, parsed."""
        return parse_space(self.space, self.constraints)

    def looks_at_general_ground(self) -> bool:
        """Whether trials are weighed by a suite of `evaluate.general`."""
        return any(objective.name() == "general" for objective in self.objectives)

    def side_by_side(self) -> int:
        """Trainings that this sweep can keep busy at once, on a cluster that is wide enough."""
        lag = self.scheduler.lag()
        return self.trials if lag is None else min(self.trials, lag + 1)
