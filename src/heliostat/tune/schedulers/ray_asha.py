"""Ray Tune's asynchronous successive halving, the stopping variant (Li et al., 2020, arXiv:1810.05934), as Ray ships it."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from heliostat.core.errors import UserError
from heliostat.tune.schedulers._ray import RULES, Iterated, RayCourse, geometric
from heliostat.tune.schedulers.base import Course
from heliostat.tune.space import Space


class RayAsha(Iterated):
    """Ray's AsyncHyperBandScheduler: stop a trial that is not in the top 1/eta of those that were there before.

    Ray's own never stops a trial whose loss is NaN; here such a trial ends at once, as under every scheduler. `asha` is usually
    faster: a trial that is stopped here never comes back, and one that came early is let through.
    """

    eta: int = Field(3, ge=2, le=16)
    """One in so many trials goes on, and each comparison comes after eta times as many iterations as the one before."""
    grace: int = Field(1, ge=1)
    """Iterations of the first comparison."""

    @model_validator(mode="after")
    def _compares(self) -> Self:
        if self.grace > self.iterations:
            raise UserError(f"grace: {self.grace} is more than the {self.iterations} iterations there are. Use 1 to {self.iterations}.")
        return self

    def rungs(self) -> tuple[float, ...]:
        return tuple(milestone / self.iterations for milestone in self._milestones())

    def _milestones(self) -> list[int]:
        return geometric(self.grace, self.eta, self.iterations)

    def open(self, trials: int, space: Space, seed: int) -> Course:
        from ray.tune.schedulers import AsyncHyperBandScheduler

        stock = AsyncHyperBandScheduler(**RULES, max_t=self.iterations, grace_period=self.grace, reduction_factor=self.eta)
        return RayCourse(stock, trials, self._milestones(), seed)
