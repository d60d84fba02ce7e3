"""Low-rank adapters (Hu et al., 2021, arXiv:2106.09685) through PEFT."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from heliostat.train.adapters._targets import Targeted
from heliostat.train.adapters.base import Shapes


class Lora(Targeted):
    """A product of two thin matrices is added to each chosen weight; merged and verified for export."""

    r: int = Field(8, ge=1, le=1024)
    """Rank."""
    alpha: float = Field(16, gt=0)
    """Scale: the update is multiplied by alpha / r."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout before the adapter."""
    base_bits: Literal[4] | None = None
    """Keep the frozen weights in 4 bits while training (QLoRA, Dettmers et al., 2023): needs a GPU and bitsandbytes. The export is
    merged into the full weights."""

    def put_in(self, module: Any, head: list[str]) -> Any:
        from heliostat.engine import adapters

        return adapters.with_peft(module, "LoraConfig", self.peft(), self, head)

    def peft(self) -> dict[str, Any]:
        """The arguments of PEFT's config."""
        return {"r": self.r, "lora_alpha": self.alpha, "lora_dropout": self.dropout, "bias": "none"}

    def adds(self, shapes: Shapes) -> int:
        return sum(self.r * sum(shapes[name]) for name in self.chosen(shapes))
