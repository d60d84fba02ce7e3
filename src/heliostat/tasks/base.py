"""Contract of tasks."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from pydantic import Field

from heliostat.core.family import Member


class Base(Member):
    """What a row means: the columns it needs, how it becomes a batch, what the model gives back.

    The gang calls these methods in its workers; everything that imports torch or transformers does so inside a method.
    """

    metric: str = "accuracy"
    """Member of metrics that ranks models of this task."""
    also: list[str] = Field(["f1_macro", "log_loss", "calibration_error"])
    """Further members of metrics that are reported."""

    @abstractmethod
    def columns(self) -> dict[str, str]:
        """Columns a row must have, each with a few words on what it holds; the target comes last."""

    def problems(self, model: Any) -> list[str]:
        """Why this task cannot be done with `model` (a ModelConfig), as far as its files tell; each begins with the setting's path."""
        return []

    @abstractmethod
    def model(self, folder: str, labels: list[str] | None, layers: int | None, revision: str = "main") -> tuple[Any, list[str]]:
        """(module in fp32 on the CPU, names of the parameters the folder or hub id did not have).

        `labels` None gives the bare encoder; `layers` keeps the first so many encoder layers.
        """

    @abstractmethod
    def tokenise(self, columns: dict[str, list[Any]], tokenizer: Any, labels: list[str]) -> dict[str, list[Any]]:
        """Model inputs for a batch of rows: every value has one entry per row, `labels` is an index."""

    @abstractmethod
    def collate(self, rows: dict[str, list[Any]], pad_id: int) -> dict[str, Any]:
        """Tensors of one micro-batch, padded to its longest row."""

    @abstractmethod
    def logits(self, module: Any, batch: dict[str, Any]) -> Any:
        """Logits [rows, labels] of one batch."""

    @abstractmethod
    def embed(self, module: Any, batch: dict[str, Any]) -> Any:
        """One unit vector per row [rows, width] from the model's encoder, for tasks it was not tuned for."""
