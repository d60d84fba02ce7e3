"""One label per text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from heliostat.core.values import name_of, text_of
from heliostat.tasks import _text
from heliostat.tasks.base import IGNORED, Base


class TextClassification(Base):
    """One label per text, with any Hugging Face encoder."""

    auto: ClassVar[str] = "AutoModelForSequenceClassification"

    max_tokens: int = Field(128, ge=8, le=131_072)
    """Longer texts are cut at the end."""

    def columns(self) -> dict[str, str]:
        return {"text": "what is classified", "label": "its class"}

    def row(self, values: dict[str, Any]) -> dict[str, Any] | str:
        text, fault = text_of(values["text"])
        label = name_of(values["label"])
        return fault or ("missing_label" if label is None else {"text": text, "label": label})

    def problems(self, model: Any) -> list[str]:
        return _text.too_long(self, model)

    def describe(self, config: Any, labels: Sequence[str]) -> None:
        config.num_labels = len(labels)
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: i for i, name in enumerate(labels)}
        config.problem_type = "single_label_classification"

    def tokenise(self, columns: dict[str, list[Any]], processor: Any, labels: Sequence[str]) -> dict[str, list[Any]]:
        encoded = processor(columns["text"], truncation=True, max_length=self.max_tokens, padding=False, return_attention_mask=False)
        targets = self.targets(columns, labels)
        return {"input_ids": encoded["input_ids"], "labels": targets, "units": [float(target != IGNORED) for target in targets]}

    def targets(self, columns: dict[str, list[Any]], labels: Sequence[str]) -> list[Any]:
        index = {name: i for i, name in enumerate(labels)}
        return [index.get(label, IGNORED) for label in columns.get("label", [""] * len(columns["text"]))]

    def collate(self, rows: dict[str, list[Any]], processor: Any) -> dict[str, Any]:
        import torch

        return {**_text.sequences(rows, processor), "labels": torch.as_tensor(rows["labels"], dtype=torch.long)}

    def logits(self, module: Any, batch: dict[str, Any]) -> Any:
        return module(**_text.inputs(batch)).logits

    def embed(self, module: Any, batch: dict[str, Any]) -> Any:
        return _text.mean_pooled(module, batch)
