"""Fast gradient method on embeddings (Miyato, Dai and Goodfellow, 2017, arXiv:1605.07725)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from heliostat.train.regularizers.base import Base, Shifted, gradient, to_length


class Fgm(Base):
    """Also learn from the embeddings moved one step in the direction that hurts most."""

    passes: ClassVar[int | None] = 2
    epsilon: float = Field(1.0, gt=0)
    """L2 length of the step, for each row."""
    share: float = Field(1.0, gt=0)
    """Weight of the loss of the moved embeddings beside that of the true ones."""

    def total(self, objective: Any, forward: Any, batch: dict[str, Any]) -> Any:
        shifted = Shifted(forward.module)
        with shifted.by(None):
            clean = objective.weighted(forward.inner(batch))
        step = to_length(gradient(clean, shifted.delta), self.epsilon)
        with shifted.by(step):
            return clean + self.share * objective.weighted(forward(batch))
