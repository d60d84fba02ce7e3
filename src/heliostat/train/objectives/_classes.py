"""Weights of classes: rare ones may count more."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from heliostat.core.errors import unknown
from heliostat.train.objectives.base import OF_CLASSES, Base

Weights = Literal["balanced"] | dict[str, float] | None


class ClassWeighted(Base):
    """An objective over classes whose weights can be chosen."""

    class_weights: Weights = Field(None)
    """balanced: rows / (classes x rows of the class), so that every class counts the same and the mean weight of a row is 1; or class to
    weight, 1 where it is not named; None weighs every row the same."""

    def weight_of(self, units: dict[str, Any]) -> Any:
        """The weight of each class, float32 [C], or None."""
        import torch

        if self.class_weights is None:
            return None
        if self.class_weights == "balanced":
            rows_C = units["class_rows"]
            seen_C = rows_C > 0
            return torch.where(seen_C, rows_C.sum() / (seen_C.sum() * rows_C.clamp(min=1)), 0.0)
        assert isinstance(self.class_weights, dict)
        given = [self.class_weights.get(name, 1.0) for name in units["names"]]
        return torch.tensor(given, dtype=torch.float32, device=units["logits"].device)

    def lacks(self, task: Any) -> list[str]:
        if self.class_weights is None or task.answers_are in OF_CLASSES:
            return []
        told = f"{task.name()} answers with {task.answers_are}, so there are no classes to weigh"
        return [f"class_weights: {told}. Leave it out; only {' and '.join(OF_CLASSES)} have classes."]

    def problems(self, labels: tuple[str, ...]) -> list[str]:
        if not isinstance(self.class_weights, dict):
            return []
        found = [f"class_weights: {unknown('class', name, labels)}" for name in self.class_weights if name not in labels]
        return found + [f"class_weights.{name}: {w:g} is below 0." for name, w in self.class_weights.items() if w < 0]
