"""Contract of objectives.

Shapes: U units of a batch (rows, or the tokens that have a target), C labels.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from heliostat.core.family import Member


class Base(Member):
    """What is minimised: one loss per unit; the loop takes their weighted mean over the global batch.

    `units` holds `logits` [U, C], `labels` [U] (indices; floats for a regression), `weight` [U], `names` (of the C labels),
    `class_rows` [C] (training targets of each class, where targets are classes) and, when there is a teacher, `teacher` [U, C]
    log-probabilities.
    """

    needs_teacher: bool = False
    """Whether there must be a teacher's soft targets."""

    @abstractmethod
    def per_unit(self, units: dict[str, Any]) -> Any:
        """Losses [U] in float32, not yet weighted."""

    def weighted(self, units: dict[str, Any]) -> Any:
        """Their weighted sum, a scalar to differentiate."""
        return (self.per_unit(units) * units["weight"]).sum()

    def problems(self, labels: tuple[str, ...]) -> list[str]:
        """Why it cannot be used for these labels, each beginning with the option's name."""
        return []
