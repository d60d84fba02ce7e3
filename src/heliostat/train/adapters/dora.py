"""Weight-decomposed low-rank adapters (Liu et al., 2024, arXiv:2402.09353) through PEFT."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from heliostat.train.adapters._targets import Targeted
from heliostat.train.adapters.base import Shapes


class Dora(Targeted):
    """LoRA for the direction of each chosen weight and a learned length of its own; merged and verified for export."""

    r: int = Field(8, ge=1, le=1024)
    """Rank."""
    alpha: float = Field(16, gt=0)
    """Scale: the update is multiplied by alpha / r."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout before the adapter."""

    def put_in(self, module: Any, head: list[str]) -> Any:
        from heliostat.engine import adapters

        settings = {"r": self.r, "lora_alpha": self.alpha, "lora_dropout": self.dropout, "bias": "none", "use_dora": True}
        return adapters.with_peft(module, "LoraConfig", settings, self, head)

    def adds(self, shapes: Shapes) -> int:
        return sum(self.r * sum(shapes[name]) + shapes[name][0] for name in self.chosen(shapes))
