"""Adapters that sit at chosen linear modules."""

from __future__ import annotations

from collections.abc import Sequence
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
        return self.unmatched(list(shapes)) if shapes else []

    def unmatched(self, names: Sequence[str]) -> list[str]:
        """What is to be chosen and is in none of these module names, a sentence each, which begins with the option."""
        if self.targets is not None:
            return [no_such("targets", target, names) for target in self.targets if not any(name.endswith(target) for name in names)]
        if self.chosen(names):
            return []
        return [f"targets: none of the usual names ({', '.join(USUAL)}) is in it. It has: {', '.join(kinds(names))}. Name some of them."]


def kinds(names: Sequence[str], words: int = 1) -> list[str]:
    """The last words of module names, each once."""
    return sorted({".".join(name.split(".")[-words:]) for name in names})


def no_such(option: str, given: str, names: Sequence[str]) -> str:
    """A sentence: no module has the name that is given for an option."""
    close = nearest(given, kinds(names, given.count(".") + 1))
    hint = f" Did you mean '{close}'?" if close else ""
    return f"{option}: no weight of the model is called {given}.{hint} It has: {', '.join(kinds(names))}."
