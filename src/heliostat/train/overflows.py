"""Updates that were not made because gradients overflowed in 16 bits: counted, kept out of the schedule, and in a training not too many.

DeepSpeed leaves such an update out and halves the loss scale, which begins high on purpose: the first few belong to every training in fp16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heliostat.core.errors import Diverged

if TYPE_CHECKING:
    from heliostat.train.loop import StepDone

IN_A_ROW = 32
"""So many one after another are not the search for a scale: 17 bring it from its beginning, 2**16, to 1."""
MOST = 0.5
"""Share of a training's updates that may be left out."""


@dataclass
class Overflows:
    """Those of one training."""

    precision: str
    skipped: int = 0
    """Updates that were not made."""
    _in_a_row: int = 0

    def note(self, done: StepDone) -> None:
        """Count an update; `Diverged` when no more can be expected."""
        self._in_a_row = self._in_a_row + 1 if done.skipped else 0
        self.skipped += done.skipped
        if self._in_a_row >= IN_A_ROW:
            raise Diverged(self._told(f"the last {IN_A_ROW} updates up to step {done.step}"))

    def judge(self, steps: int) -> None:
        """`Diverged` when a training that ends after so many steps has hardly been one."""
        if self.skipped > MOST * steps:
            raise Diverged(self._told(f"{self.skipped} of {steps} updates"))

    def _told(self, updates: str) -> str:
        others = "train.precision: fp32" if self.precision == "bf16" else "train.precision: bf16 or fp32"
        return f"{updates} were not made, for their gradients overflow in {self.precision}. Use {others}, or lower train.optimizer.lr."
