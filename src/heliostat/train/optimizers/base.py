"""Contract of optimisers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from pydantic import Field

from heliostat.core.family import Member


class Base(Member):
    """Builds a `torch.optim.Optimizer` over parameter groups; the learning rate is the peak of the schedule."""

    state_bytes: ClassVar[int]
    """What it keeps about a trained parameter, in bytes."""
    whole: ClassVar[bool] = False
    """Whether it must see a parameter whole: ZeRO 1 to 3 show an optimiser flat pieces."""
    lr: float = Field(5e-5, gt=0, lt=10)
    """Peak learning rate."""

    @abstractmethod
    def build(self, groups: list[dict[str, Any]], zero: int) -> Any:
        """An optimiser over `groups` (each with `params` and `weight_decay`); `zero` is the ZeRO stage it will run under."""
