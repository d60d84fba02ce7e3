"""Settings of one training run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from heliostat.core.family import In
from heliostat.core.settings import Settings
from heliostat.train.auxiliary import Auxiliary
from heliostat.train.stopping import EarlyStopping

VERSION = 1


class TrainConfig(Settings):
    """How a model is fine-tuned. Every value here bears identity and can be searched by `tune.space`."""

    epochs: float = Field(1.0, gt=0, le=1000)
    """Passes over the training rows; a fraction is a part of one."""
    batch: int = Field(16, ge=1)
    """Rows of one update over all workers."""
    batch_tokens: int | None = Field(None, ge=8)
    """Tokens of one update over all workers, instead of `batch`: rows in training order until one more would exceed it."""
    packing: bool = False
    """Put several rows of a text into one sequence of `task.max_tokens`, none of which sees another; `batch` then counts sequences."""
    curriculum: In["train.curricula"] | None = None
    """Member of train/curricula: easy rows first; None is a random order in every epoch."""
    optimizer: In["train.optimizers"] = "adamw"
    """Member of train/optimizers."""
    head_lr: float | None = Field(None, gt=0, lt=10)
    """Peak learning rate of the head: what lies outside of the encoder, and what the pretrained model lacks; None is the optimiser's.
    The schedule moves both alike."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Learning rate of an encoder layer as a share of that of the layer above it; the embeddings get the least. 1 is off: all layers
    have the optimiser's."""
    schedule: In["train.schedules"] = "linear"
    """Member of train/schedules."""
    objective: In["train.objectives"] = "cross_entropy"
    """Member of train/objectives; a run that names none gets the one its task is made for."""
    regularizer: In["train.regularizers"] | None = None
    """Member of train/regularizers: adversarial training or agreement between dropout masks; None makes one pass."""
    auxiliary: list[Auxiliary] = []
    """Further targets that are learnt at once, by heads that the export leaves out."""
    task_weights: Literal["fixed", "learned"] = "fixed"
    """Of the main and the auxiliary losses: as they are set, or by the uncertainty of each (Kendall et al., 2018)."""
    clip: float | None = Field(1.0, gt=0)
    """Largest norm of the whole gradient; None is off."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the forward and backward pass; fp16 needs a GPU."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Share of activations dropped everywhere the model has dropout; None keeps the model's own."""
    freeze: int | list[str] = Field(0)
    """So many encoder layers, counted from the input, are not trained, and neither are the embeddings; or patterns of parameter names
    that are not (`["*.embeddings.*", "*layer.0.*"]`); 0 trains everything. Cheaper steps, smaller checkpoints, and the model keeps
    more of what it knew. Layers below the first trained parameter have no dropout, and are
    computed once for each row where that is exact."""
    adapter: In["train.adapters"] | None = None
    """Member of train/adapters: train it and the head only; None trains everything."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay per update of an exponential moving average of the weights, which is then what is validated and exported; None is off.
    0.999 averages about the last thousand updates."""
    early_stopping: EarlyStopping | None = None
    """End before `epochs` when validation stops getting better; None never does."""
    validate_every: float = Field(0.25, gt=0)
    """Epochs between validations; the last step is always validated."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""

    def kept(self) -> tuple[str, ...]:
        """The slices of the corpus that are needed beside the rows."""
        own = self.curriculum.kept() if self.curriculum is not None else None
        return tuple(dict.fromkeys([*([own] if own is not None else []), *(each.column for each in self.auxiliary)]))

    @field_validator("freeze", mode="before")
    @classmethod
    def _is_no_switch(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"{str(value).lower()} does not say what is frozen; use a number of layers, or a list of patterns")
        return value

    @field_validator("freeze")
    @classmethod
    def _counts_layers(cls, value: Any) -> Any:
        if isinstance(value, int) and value < 0:
            raise ValueError(f"{value} layers cannot be frozen; use 0 or more, or a list of patterns")
        if isinstance(value, list) and (every := [pattern for pattern in value if pattern and not pattern.strip("*?")]):
            raise ValueError(f"'{every[0]}' matches every parameter, and nothing would be left to train; name some, as in ['*embeddings*']")
        return value
