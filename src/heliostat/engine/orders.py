"""What a gang can be told to do. An order is complete in itself: it can be given again to a gang that was restarted.

That is why a lost worker, a killed driver and a promotion in a sweep are the same thing to a gang. Orders about
trained models in use (`Predict`, `Embed`, `Time`) are in `predict.py`; those about training in `heliostat.train.orders`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class ModelSource(BaseModel):
    """Where weights come from, and which encoder layers of them are taken."""

    model_config = ConfigDict(frozen=True)
    folder: str
    """A model folder, or a hub id."""
    revision: str = "main"
    layers: int | None = None
    """Take the first so many encoder layers."""
    spread: int | None = None
    """Take so many encoder layers, evenly spaced from first to last (a student)."""


class Order(BaseModel):
    """Base of every order: its fields say what, `perform` does it on every worker of the gang."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)
    task: Any
    """The task member."""
    threads: int = 1
    """Torch threads of each worker while it performs the order."""

    @abstractmethod
    def perform(self, worker: Any) -> dict[str, Any]:
        """Do it; `worker` is the `heliostat.engine.worker.Worker` it runs in. What rank 0 returns is the reply."""

    def smaller(self) -> Order | None:
        """The same order with the same result in less memory; None when there is nothing to divide."""
        return None


class Stopped(Exception):
    """A training ended before its order did, because a worker was told to leave; what it had reached is saved."""


class Reply(BaseModel):
    """What an order gave; `error` is set when it failed, `reason` sorts the failure."""

    model_config = ConfigDict(frozen=True)
    value: dict[str, Any] = {}
    error: str | None = None
    reason: Literal["", "request", "diverged", "exception", "memory", "hang", "lost", "preempted", "closed"] = ""
    """request: the user's settings cannot work; diverged: NaN; exception: a bug or the environment; memory: it does not fit, however
    small the forward pass; hang: no progress; lost: workers died again and again on this order; preempted: a worker was told to leave;
    closed: the gang is gone, whatever it worked on."""
    seconds: float = 0.0
    """Time the gang worked on it, all tries together."""
    mark: str = ""
    """Where in the code an exception came from: equal marks are the same failure."""
    step: int = 0
    """Updates that the training had made when the order failed, as far as is known."""
    notes: tuple[str, ...] = ()
    """What went wrong on the way to a reply that came after all."""
