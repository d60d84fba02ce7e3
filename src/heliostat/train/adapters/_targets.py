"""Adapters that sit at chosen linear modules."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from heliostat.core.errors import nearest
from heliostat.train.adapters.base import Base, Shapes

USUAL = ("query", "value", "q_proj", "v_proj", "q_lin", "v_lin", "query_proj", "value_proj", "c_attn", "query_key_value", "q", "v")
"""What the projections for queries and values are called in common architectures."""


class Targeted(Base):
    """An adapter at the linear modules of some names."""

    targets: list[str] | None = Field(None, min_length=1)
    """Names (or name ends) of the modules that get one; None is the projections for queries and values, whatever they are called."""

    def chosen(self, names: Any) -> list[str]:
        """The module names that get one."""
        wanted = tuple(self.targets) if self.targets is not None else USUAL
        return [name for name in names if name.rsplit(".", 1)[-1] in wanted or (self.targets is not None and name.endswith(wanted))]

    def problems(self, shapes: Shapes, positions: int | None, task: Any) -> list[str]:
        if not shapes or self.chosen(shapes):
            return []
        kinds = sorted({name.rsplit(".", 1)[-1] for name in shapes})
        if self.targets is None:
            return [f"targets: none of the usual names ({', '.join(USUAL)}) is in it. It has: {', '.join(kinds)}. Name some of them."]
        close = nearest(self.targets[0], kinds)
        hint = f" Did you mean '{close}'?" if close else ""
        return [f"targets: no weight of the model is called {', '.join(self.targets)}.{hint} It has: {', '.join(kinds)}."]
