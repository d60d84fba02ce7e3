"""The median stopping rule (Golovin et al., 2017, Google Vizier), as Ray Tune ships it."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any, Self

from pydantic import Field, model_validator

from heliostat.core.errors import UserError
from heliostat.tune.schedulers._ray import RULES, TIME, Iterated, RayCourse
from heliostat.tune.schedulers.base import Course
from heliostat.tune.space import Space

COMPARED = 100
"""A trial is compared with so many that reached the same iteration last, so that a long sweep decides as fast as a short one."""


class MedianStopping(Iterated):
    """Ray's MedianStoppingRule: stop a trial whose best value is worse than the median of the others' averages so far."""

    grace: int = Field(1, ge=1)
    """Iterations before a trial may be stopped; averages begin there."""
    min_samples: int = Field(3, ge=1, le=COMPARED - 1)
    """With fewer trials to compare with nothing is stopped; trials wait while others can be started."""

    @model_validator(mode="after")
    def _stops(self) -> Self:
        if self.grace > self.iterations:
            raise UserError(f"grace: {self.grace} is more than the {self.iterations} iterations there are. Use 1 to {self.iterations}.")
        return self

    def open(self, trials: int, space: Space, seed: int) -> Course:
        stock = _rule()(**RULES, grace_period=self.grace, min_samples_required=self.min_samples)
        return RayCourse(stock, trials, range(1, self.iterations + 1), seed)


def _rule() -> Any:
    from ray.tune.schedulers import MedianStoppingRule

    class Rule(MedianStoppingRule):  # type: ignore[misc]
        """Ray's rule; of the trials that reached an iteration it looks at the last ones, and takes each average once."""

        def __init__(self, **options: Any):
            super().__init__(**options)
            self._lately: dict[int, deque[Any]] = defaultdict(lambda: deque(maxlen=COMPARED))
            self._means: dict[tuple[str, int], float] = {}

        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            self._lately[result[TIME]].append(trial)
            return super().on_trial_result(tune_controller, trial, result)

        def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
            """Ray's would count the last result of a stopped trial twice."""

        def _trials_beyond_time(self, time: int) -> list[Any]:
            return list(self._lately[time])

        def _running_mean(self, trial: Any, time: int) -> float:
            key = trial.trial_id, time
            if key not in self._means:
                self._means[key] = float(super()._running_mean(trial, time))
            return self._means[key]

    return Rule
