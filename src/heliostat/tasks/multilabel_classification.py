"""Any number of labels per text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from heliostat.core.values import names_of
from heliostat.tasks import _text
from heliostat.tasks._encoder import EncoderTask


class MultilabelClassification(EncoderTask):
    """Any number of labels per text or pair of texts, each decided by itself; with any Hugging Face encoder."""

    answers_are: ClassVar[str] = "names"
    names_from: ClassVar[str | None] = "labels"
    stratified_by: ClassVar[str] = "labels"
    least_names: ClassVar[int] = 1
    objective: ClassVar[str] = "binary_cross_entropy"

    separator: str = Field("|", min_length=1)
    """What stands between the labels where they come as text; a list needs none. No label at all (an empty text or list) is a row
    that none of them fits."""
    metric: str = "f1_multilabel_micro"
    """Member of metrics that ranks models of this task."""
    also: list[str] = Field(["f1_multilabel_macro", "map", "exact_match_multilabel"])
    """Further members of metrics that are reported."""

    def target(self) -> dict[str, str]:
        return {"labels": "all labels that fit"}

    def clean(self, value: Any) -> dict[str, Any] | str:
        if value is None or value != value:
            return "missing_labels"
        labels = names_of(value, self.separator)
        return "labels_not_names" if labels is None else {"labels": sorted(set(labels))}

    def describe(self, config: Any, labels: Sequence[str]) -> None:
        _text.name_outputs(config, labels)
        config.problem_type = "multi_label_classification"

    def tokenise(self, columns: dict[str, list[Any]], processor: Any, labels: Sequence[str]) -> dict[str, list[Any]]:
        return {**self.sequences(columns, processor), "labels": self.targets(columns, labels)}

    def targets(self, columns: dict[str, list[Any]], labels: Sequence[str]) -> list[Any]:
        index = {name: i for i, name in enumerate(labels)}
        return [_hot(given, index) for given in columns.get("labels", [[]] * len(columns["text"]))]

    def stacked(self, targets: list[Any]) -> np.ndarray:
        return np.asarray(targets, dtype=np.int8)

    def collate(self, rows: dict[str, list[Any]], processor: Any) -> dict[str, Any]:
        import torch

        return {**_text.sequences(rows, processor), "labels": torch.as_tensor(np.asarray(rows["labels"], dtype=np.float32))}


def _hot(given: Sequence[str], index: dict[str, int]) -> np.ndarray:
    """1 in the place of each label, [labels]; one byte each, for there may be many."""
    hot_C = np.zeros(len(index), dtype=np.int8)
    hot_C[[index[name] for name in given if name in index]] = 1
    return hot_C
