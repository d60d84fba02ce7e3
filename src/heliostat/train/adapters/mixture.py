"""A soft mixture of low-rank adapters that ends as one: after AdaMix (Wang et al., 2022, arXiv:2205.12410), with learned shares.

Each chosen module has several low-rank experts and one learned logit for each. In training the shares are the softmax of
the logits and fresh Gumbel noise, so that every expert learns and none can rely on the others; in use they are the plain
softmax, which folds all experts into the weight.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from heliostat.train.adapters._targets import Targeted
from heliostat.train.adapters.base import Shapes


class Mixture(Targeted):
    """Several low-rank adapters at each chosen module, mixed by learned shares; merged and verified for export."""

    experts: int = Field(4, ge=2, le=64)
    """Adapters at each module."""
    r: int = Field(4, ge=1, le=1024)
    """Rank of each."""
    alpha: float = Field(8, gt=0)
    """Scale: the update is multiplied by alpha / r."""
    noise: float = Field(1.0, ge=0)
    """Scale of the noise on the shares while training; 0 is none."""

    def put_in(self, module: Any, head: list[str]) -> Any:
        from heliostat.engine import adapters

        settings = {"experts": self.experts, "r": self.r, "scale": self.alpha / self.r, "noise": self.noise}
        return adapters.with_mixture(module, settings, self, head)

    def adds(self, shapes: Shapes) -> int:
        return sum(self.experts * (self.r * sum(shapes[name]) + 1) for name in self.chosen(shapes))
