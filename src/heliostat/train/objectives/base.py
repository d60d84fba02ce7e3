"""Contract of objectives.

Shapes: U units of a batch (rows, or the tokens that have a target), C labels.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from heliostat.core.family import Member

OF_CLASSES = ("labels", "tags")
"""What tasks answer with whose targets are classes: their names, and the training targets of each, are known."""


class Base(Member):
    """What is minimised: one loss per unit; the loop takes their weighted mean over the global batch.

    `units` holds `logits` [U, C], `labels` [U] (indices; 0 or 1 [U, C] where several names may apply; floats for a regression),
    `weight` [U], where targets are classes their `names` and `class_rows` [C] (training targets of each), and when there is a
    teacher, `teacher` [U, C] log-probabilities.
    """

    takes: ClassVar[tuple[str, ...]] = ("labels", "tags", "likelihood")
    """Tasks it can train, by what they answer with (`answers_are`): by default those whose units have one right index each."""

    needs_teacher: bool = False
    """Whether there must be a teacher's soft targets."""

    @abstractmethod
    def per_unit(self, units: dict[str, Any]) -> Any:
        """Losses [U] in float32, not yet weighted."""

    def weighted(self, units: dict[str, Any]) -> Any:
        """Their weighted sum, a scalar to differentiate."""
        return (self.per_unit(units) * units["weight"]).sum()

    def lacks(self, task: Any) -> list[str]:
        """What a task that it can train has not, and it needs; each begins with the option's name."""
        return []

    def problems(self, labels: tuple[str, ...]) -> list[str]:
        """Why it cannot be used for these labels, each beginning with the option's name."""
        return []
