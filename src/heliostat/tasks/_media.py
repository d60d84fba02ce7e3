"""What tasks share that read the bytes of a file, a picture or a sound, and give it one label."""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from heliostat.core.values import name_of
from heliostat.tasks import _text
from heliostat.tasks.base import IGNORED, Base

VALUES = ("pixel_values", "input_features", "input_values")
"""What models see or hear."""


class MediaTask(Base):
    """One label for the bytes of a file."""

    needs: ClassVar[tuple[str, str]]
    """The package that decodes the bytes, and the extra that brings it."""

    @abstractmethod
    def judged(self, data: bytes) -> tuple[str | None, str]:
        """(reason word why the bytes cannot be used, or None; what stands for their decoded content)."""

    @abstractmethod
    def prepared(self, files: list[bytes], processor: Any) -> dict[str, list[Any]]:
        """What prepared rows keep of the files: columns with one entry per file."""

    @abstractmethod
    def read(self, rows: dict[str, list[Any]], processor: Any) -> dict[str, Any]:
        """Model inputs as tensors, from columns of `prepared`."""

    def row(self, values: dict[str, Any]) -> dict[str, Any] | str:
        data, label = values[self.reads], name_of(values["label"])
        if data is None or data in (b"", "") or data != data:
            return f"missing_{self.reads}"
        if not isinstance(data, bytes):
            return f"{self.reads}_not_bytes"
        fault, _ = self.judged(data)
        return fault or ("missing_label" if label is None else {self.reads: data, "label": label, "text": ""})

    def content(self, row: dict[str, Any]) -> str | bytes:
        """The decoded content: the same picture or sound in another file, or with other metadata, is a duplicate."""
        return self.judged(row[self.reads])[1]

    def problems(self, model: Any) -> list[str]:
        package, extra = self.needs
        if importlib.util.find_spec(package) is None:
            told = f"{self.name()} needs the package {package}, which is not installed"
            return [f"task: {told}. Install it with: pip install 'heliostat[{extra}]'"]
        return []

    def describe(self, config: Any, labels: Sequence[str]) -> None:
        _text.name_outputs(config, labels)
        config.problem_type = "single_label_classification"

    def tokenise(self, columns: dict[str, list[Any]], processor: Any, labels: Sequence[str]) -> dict[str, list[Any]]:
        targets = self.targets(columns, labels)
        return {**self.prepared(columns[self.reads], processor), "labels": targets, "units": [float(each != IGNORED) for each in targets]}

    def targets(self, columns: dict[str, list[Any]], labels: Sequence[str]) -> list[Any]:
        index = {name: i for i, name in enumerate(labels)}
        rows = len(next(iter(columns.values())))
        return [index.get(label, IGNORED) for label in columns.get("label", [""] * rows)]

    def collate(self, rows: dict[str, list[Any]], processor: Any) -> dict[str, Any]:
        import torch

        return {**self.read(rows, processor), "labels": torch.as_tensor(rows["labels"], dtype=torch.long)}


def inputs(module: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """What the model reads of a batch, its values as precise as the weights: an engine in 16 bits changes those alone."""
    dtype = next(p.dtype for p in getattr(module, "module", module).parameters() if p.is_floating_point())
    mask = {"attention_mask": batch["attention_mask"]} if "attention_mask" in batch else {}
    return {name: batch[name].to(dtype) for name in VALUES if name in batch} | mask


def steady(module: Any) -> None:
    """Let batch normalisation use the statistics it has: with those of a batch, an update would depend on how the batch is cut."""
    import torch

    for child in getattr(module, "module", module).modules():
        if isinstance(child, torch.nn.modules.batchnorm._BatchNorm):
            child.eval()
