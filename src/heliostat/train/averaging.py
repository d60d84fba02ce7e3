"""The exponential moving average of the trained weights (Polyak and Juditsky, 1992): often better than the last ones, and steadier."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PREFIX = "average."
"""Before the names of averaged weights in a checkpoint."""


class Average:
    """A running mean of a module's trained parameters; `decay` is how much of it stays at each update.

    Early on it follows faster, min(decay, (1 + updates) / (10 + updates)), so that the start is forgotten.
    """

    def __init__(self, module: Any, decay: float):
        self.decay, self.updates = decay, 0
        self._live = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        self._mean = [p.detach().float().clone() for _, p in self._live]

    def add(self) -> None:
        """Take in the weights of now."""
        import torch

        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(self._mean, [p.detach().float() for _, p in self._live], 1.0 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The module has the averaged weights for a while."""
        import torch

        own = [p.detach().clone() for _, p in self._live]
        with torch.no_grad():
            for (_, p), mean in zip(self._live, self._mean, strict=True):
                p.copy_(mean)
        try:
            yield
        finally:
            with torch.no_grad():
                for (_, p), value in zip(self._live, own, strict=True):
                    p.copy_(value)

    def state(self) -> dict[str, Any]:
        """CPU copies by name, to be saved."""
        return {PREFIX + name: mean.to("cpu", copy=True) for (name, _), mean in zip(self._live, self._mean, strict=True)}

    def load(self, saved: dict[str, Any], updates: int) -> None:
        """Go on from what `state` gave after so many updates."""
        self.updates = updates
        for (name, _), mean in zip(self._live, self._mean, strict=True):
            mean.copy_(saved[PREFIX + name])
