"""Contract of tasks.

Shapes: B rows of a batch, U units of it (what the loss is a mean over: rows, or the tokens that have a target), C labels
or vocabulary, N rows of a split.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from heliostat.core.family import Member

IGNORED = -100
"""The target of what has none: it is left out of the loss and of every metric."""
TEXTS = ("text", "text_pair", "target_text")
"""Columns that hold a text each."""


class Base(Member):
    """What a row means: the columns it needs, how it becomes a batch, what the model gives back.

    The gang calls these methods in its workers; everything that imports torch or transformers does so inside a method.
    """

    auto: ClassVar[str]
    """The transformers class that opens an exported model."""
    reads: ClassVar[Literal["text", "image", "audio"]] = "text"
    """What kind of input a row has; the corpus cleans text only."""
    answers_are: ClassVar[str] = "labels"
    """What `answers` holds, as metrics call it: a metric of another kind cannot judge this task."""
    names_from: ClassVar[str | None] = "label"
    """Column whose values (or members, for a list) are the names a model answers with; None when it answers with none."""
    outside: ClassVar[str | None] = None
    """The name that stands for "nothing here"; it gets index 0."""
    least_names: ClassVar[int] = 2
    """Fewer names in a corpus leave nothing to learn."""
    base: ClassVar[Literal["probe", "itself", "none"]] = "probe"
    """How the base model is scored on the domain: a linear probe on its frozen embeddings, as it is, or not at all."""
    packs: ClassVar[bool] = False
    """Whether several rows can share one sequence."""
    shifted: ClassVar[bool] = False
    """Whether a label is told from the tokens before it, so that the first of a sequence is none to learn."""
    processor_reads: ClassVar[tuple[str, ...]] = ()
    """Options that `processor` looks at: with other values it is opened again."""
    model_reads: ClassVar[tuple[str, ...]] = ()
    """Options that `model` looks at: with other values it is opened again."""
    objective: ClassVar[str] = "cross_entropy"
    """Member of train/objectives that is minimised where the config names none."""
    stratified_by: ClassVar[str] = "label"
    """Column whose value (or each of whose members, for a list) every split gets its share of."""
    pipeline_tag: ClassVar[str] = "text-classification"
    """What the model hub calls the task, for model cards."""
    together: ClassVar[int] = 32
    """Most rows of one forward pass when nothing is trained: what it gives for them is held in memory at once."""
    untrained: ClassVar[str] = "Their target is none that the model answers with."
    """Why a row may hold nothing to train on, and what to do about it."""

    metric: str = "accuracy"
    """Member of metrics that ranks models of this task."""
    also: list[str] = Field(["f1_macro", "log_loss", "calibration_error"])
    """Further members of metrics that are reported."""

    # The corpus

    @abstractmethod
    def columns(self) -> dict[str, str]:
        """Columns a row must have, each with a few words on what it holds; the target comes last."""

    @abstractmethod
    def row(self, values: dict[str, Any]) -> dict[str, Any] | str:
        """The clean row of what a source holds under the names of `columns`, or the reason word why it is none.

        A row has those columns, `text` (what filters and duplicate detection read; empty when there is none) and `label` (the
        name it is stratified by; empty when there is none).
        """

    def content(self, row: dict[str, Any]) -> str | bytes:
        """What makes two rows the same input."""
        return row["text"]

    def answer(self, row: dict[str, Any]) -> str:
        """What may not differ between rows of the same input: where it does, nobody knows which is right."""
        return str(row[list(self.columns())[-1]])

    def ordered(self, names: list[str]) -> list[str]:
        """The names a model answers with in the order of its outputs, from those the rows hold in natural order."""
        return sorted(names, key=lambda name: name != self.outside)

    def revised(self, row: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
        """The row with every text in it changed: what a filter mends or hides is mended and hidden wherever it stands."""
        return {**row, **{name: change(row[name]) for name in TEXTS if isinstance(row.get(name), str)}}

    def is_revised(self) -> bool:
        """Whether `revised` reaches all that a model reads."""
        return "text" in self.columns()

    def problems(self, model: Any) -> list[str]:
        """Why this task cannot be done with `model` (a ModelConfig), as far as its files tell; each begins with the setting's path."""
        return []

    def splits(self) -> bool:
        """Whether a row that is too long for one sequence becomes several (`piece` of `tokenise`)."""
        return False

    # The model

    def model(self, folder: str, labels: list[str] | None, layers: int | None, revision: str = "main") -> tuple[Any, list[str]]:
        """(module in fp32 on the CPU, names of the parameters the folder or hub id did not have).

        `labels` None gives the bare encoder; `layers` keeps the first so many encoder layers.
        """
        import transformers

        config = transformers.AutoConfig.from_pretrained(folder, revision=revision)
        if layers is not None:
            self.shorten(config, layers)
        if labels is None:
            return transformers.AutoModel.from_pretrained(folder, config=config, revision=revision, dtype="float32"), []
        self.describe(config, labels)
        module, info = getattr(transformers, self.auto).from_pretrained(
            folder, config=config, revision=revision, dtype="float32", output_loading_info=True, ignore_mismatched_sizes=True
        )
        lacking = {*info["missing_keys"], *(key[0] for key in info["mismatched_keys"])}
        return module, [name for name, _ in module.named_parameters() if name in lacking]  # a tied weight has one name here

    def shorten(self, config: Any, layers: int) -> None:
        """Keep the first so many encoder layers, in a transformers config."""
        config.num_hidden_layers = min(layers, config.num_hidden_layers)

    def describe(self, config: Any, labels: Sequence[str]) -> None:
        """Write what the head answers with into a transformers config; nothing for a model that keeps its own head."""

    def begin(self, module: Any, new: Sequence[str], targets: Callable[[], np.ndarray]) -> None:
        """Prepare a copy to train, in place; `new` are the parameters that were drawn, `targets()` those of the training rows.

        It may parametrise weights (torch.nn.utils.parametrize): an export writes the weights that come out.
        """

    def reopen(self, folder: Any) -> tuple[Any, dict[str, Any]]:
        """(an exported model opened as a user would, its loading info)."""
        import transformers

        return getattr(transformers, self.auto).from_pretrained(folder, output_loading_info=True, dtype="float32")

    def processor(self, folder: str, revision: str = "main") -> Any:
        """What turns raw input into model inputs: a tokenizer, an image processor or a feature extractor."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(folder, revision=revision)

    # Rows to batches to answers

    @abstractmethod
    def tokenise(self, columns: dict[str, list[Any]], processor: Any, labels: Sequence[str]) -> dict[str, list[Any]]:
        """Model inputs for rows of the corpus: every value has one entry per row, or per piece of a row that is too long for one.

        Rows to predict may lack the target's column. `units`, when given, is how many units of the loss a row has (1 when
        it is not): a row of none is not trained on. A task that makes pieces gives `piece`, 0, 1 ... in every row, and has answers
        that can be added up: the answer about a row is the sum over its pieces.
        """

    @abstractmethod
    def targets(self, columns: dict[str, list[Any]], labels: Sequence[str]) -> list[Any]:
        """What metrics compare the answers with, one entry per row."""

    def stacked(self, targets: list[Any]) -> np.ndarray:
        """Targets of `targets` as one array [N, ...]."""
        return np.asarray(targets)

    def drawn(self, rows: dict[str, list[Any]], generators: Sequence[np.random.Generator], processor: Any) -> dict[str, list[Any]]:
        """The rows with what is random about them drawn, one generator per row: made from the row's id and the epoch.

        Of packed rows, which have `documents` (the tokens of each), there is one generator per document, in their order.
        """
        return rows

    is_drawn: ClassVar[bool] = False
    """Whether `drawn` does anything."""

    @abstractmethod
    def collate(self, rows: dict[str, list[Any]], processor: Any) -> dict[str, Any]:
        """Tensors of one micro-batch, padded to its longest row."""

    @abstractmethod
    def logits(self, module: Any, batch: dict[str, Any]) -> Any:
        """What the model gives for one batch: logits [B, C], or [B, positions, C]."""

    def units(self, logits: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """What the loss is made of: `logits` [U, C], `labels` [U], `weight` [U], and `teacher` [U, C] when the batch has one."""
        return {"logits": logits, **{name: batch[name] for name in ("labels", "weight", "teacher") if name in batch}}

    def answers(self, logits: Any, batch: dict[str, Any]) -> Any:
        """What is kept of a prediction, float32 [B, ...]: the logits, or as much of them as metrics need."""
        return logits.float()

    @abstractmethod
    def embed(self, module: Any, batch: dict[str, Any]) -> Any:
        """One unit vector per row [B, width] from the model's encoder, for tasks it was not tuned for."""
