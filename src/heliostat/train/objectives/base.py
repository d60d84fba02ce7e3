"""Contract of objectives."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from heliostat.core.family import Member


class Base(Member):
    """One loss per row; the loop takes its weighted mean over the global batch."""

    needs_teacher: bool = False
    """Whether `batch` must hold the teacher's soft targets."""

    @abstractmethod
    def per_row(self, logits: Any, batch: dict[str, Any]) -> Any:
        """Losses [rows] for `logits` [rows, labels]; `batch["labels"]` is [rows], `batch["teacher"]` [rows, labels] log-probabilities."""
