"""One number per text.

The head is drawn around zero, and an optimiser moves it by about its learning rate per step: targets around 500 would take
longer to reach than a whole training. So a drawn head begins at the mean of the training targets and is scaled by their
standard deviation, as a parametrisation inside the model: it answers in the target's own unit at every step, and the export holds
the plain weights that come out, which any program reads without knowing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from heliostat.core.values import number_of
from heliostat.tasks import _text
from heliostat.tasks._encoder import EncoderTask


class TextRegression(EncoderTask):
    """One number per text or pair of texts (a rating, a price, a similarity), with any Hugging Face encoder."""

    answers_are: ClassVar[str] = "numbers"
    names_from: ClassVar[str | None] = None
    objective: ClassVar[str] = "mean_squared_error"

    scale: bool = True
    """Begin a new head at the mean of the training targets, in steps of their standard deviation."""
    metric: str = "rmse"
    """Member of metrics that ranks models of this task."""
    also: list[str] = Field(["mae", "r2", "spearman", "pearson"])
    """Further members of metrics that are reported."""

    def target(self) -> dict[str, str]:
        return {"target": "its number"}

    def clean(self, value: Any) -> dict[str, Any] | str:
        if value is None or value != value or (isinstance(value, str) and not value.strip()):
            return "missing_target"
        number = number_of(value)
        return "target_not_number" if number is None else {"target": number}

    def describe(self, config: Any, labels: Sequence[str]) -> None:
        _text.name_outputs(config, ["target"])
        config.problem_type = "regression"

    def begin(self, module: Any, new: Sequence[str], targets: Callable[[], np.ndarray]) -> None:
        head = _head(module, new) if self.scale else None
        if head is not None:
            found_N = targets()
            _scale(head, float(found_N.mean()), float(found_N.std()) or 1.0)

    def tokenise(self, columns: dict[str, list[Any]], processor: Any, labels: Sequence[str]) -> dict[str, list[Any]]:
        return {**self.sequences(columns, processor), "labels": self.targets(columns, labels)}

    def targets(self, columns: dict[str, list[Any]], labels: Sequence[str]) -> list[Any]:
        return columns["target"] if "target" in columns else [float("nan")] * len(columns["text"])

    def stacked(self, targets: list[Any]) -> np.ndarray:
        return np.asarray(targets, dtype=np.float64)

    def collate(self, rows: dict[str, list[Any]], processor: Any) -> dict[str, Any]:
        import torch

        return {**_text.sequences(rows, processor), "labels": torch.as_tensor(rows["labels"], dtype=torch.float32)}


def _head(module: Any, new: Sequence[str]) -> Any:
    """The linear module with one output whose weights were drawn; None when the model brought its own."""
    for name in new:
        owner = module.get_submodule(name.rpartition(".")[0])
        if name.endswith(".weight") and getattr(owner, "out_features", None) == 1:
            return owner
    return None


def _scale(head: Any, centre: float, spread: float) -> None:
    """Make `head` answer centre + spread x (what its own weights give)."""
    import torch
    from torch.nn.utils import parametrize

    class Scaled(torch.nn.Module):
        """spread x weight + centre."""

        def __init__(self, centre: float):
            super().__init__()
            self.centre = centre

        def forward(self, weight: Any) -> Any:
            return weight * spread + self.centre

        def right_inverse(self, weight: Any) -> Any:
            return (weight - self.centre) / spread

    for name, middle in (("weight", 0.0), ("bias", centre)):
        if (own := getattr(head, name)) is not None:
            drawn = own.detach().clone()
            parametrize.register_parametrization(head, name, Scaled(middle))
            with torch.no_grad():
                head.parametrizations[name].original.copy_(drawn)  # what was drawn is what the head gives before it is scaled
