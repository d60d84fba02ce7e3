"""Infused adapters that inhibit and amplify activations (Liu et al., 2022, arXiv:2205.05638) through PEFT."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import Field

from heliostat.train.adapters._targets import Targeted, kinds, no_such
from heliostat.train.adapters.base import Shapes


class Ia3(Targeted):
    """One learned factor for each output of the chosen modules: the smallest adapter; merged and verified for export."""

    feedforward: list[str] = Field([])
    """Names of further modules that get a factor for each of their inputs: the second layer of the feed-forward blocks."""

    def put_in(self, module: Any, head: list[str]) -> Any:
        from heliostat.engine import adapters

        inputs = self.inputs(adapters.matrices(module))
        return adapters.with_peft(module, "IA3Config", {"feedforward_modules": inputs}, self, head, also=inputs)

    def inputs(self, names: Iterable[str]) -> list[str]:
        """The module names that get a factor for each input."""
        return [name for name in names if name.rsplit(".", 1)[-1] in self.feedforward]

    def unmatched(self, names: Sequence[str]) -> list[str]:
        there = kinds(names)
        return [*super().unmatched(names), *(no_such("feedforward", name, names) for name in self.feedforward if name not in there)]

    def adds(self, shapes: Shapes) -> int:
        return sum(shapes[name][1] for name in self.inputs(shapes)) + sum(shapes[name][0] for name in self.chosen(shapes))
