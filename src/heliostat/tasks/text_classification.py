"""One label per text, or per pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from heliostat.core.values import name_of
from heliostat.tasks import _text
from heliostat.tasks._encoder import EncoderTask
from heliostat.tasks.base import IGNORED


class TextClassification(EncoderTask):
    """One label per text or pair of texts, with any Hugging Face encoder."""

    def target(self) -> dict[str, str]:
        return {"label": "its class"}

    def clean(self, value: Any) -> dict[str, Any] | str:
        label = name_of(value)
        return "missing_label" if label is None else {"label": label}

    def describe(self, config: Any, labels: Sequence[str]) -> None:
        _text.name_outputs(config, labels)
        config.problem_type = "single_label_classification"

    def tokenise(self, columns: dict[str, list[Any]], processor: Any, labels: Sequence[str]) -> dict[str, list[Any]]:
        targets = self.targets(columns, labels)
        units = [float(target != IGNORED) for target in targets]
        return {**self.sequences(columns, processor), "labels": targets, "units": units}

    def targets(self, columns: dict[str, list[Any]], labels: Sequence[str]) -> list[Any]:
        index = {name: i for i, name in enumerate(labels)}
        return [index.get(label, IGNORED) for label in columns.get("label", [""] * len(columns["text"]))]

    def collate(self, rows: dict[str, list[Any]], processor: Any) -> dict[str, Any]:
        import torch

        return {**_text.sequences(rows, processor), "labels": torch.as_tensor(rows["labels"], dtype=torch.long)}
