"""Settings of one training run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from heliostat.core.family import In
from heliostat.core.settings import Settings

VERSION = 1


class LoraConfig(Settings):
    """Low-rank adapters (Hu et al., 2021) through PEFT; the exported model has them merged and verified."""

    r: int = Field(8, ge=1, le=1024)
    """Rank."""
    alpha: float = Field(16, gt=0)
    """Scale: the update is multiplied by alpha / r."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout before the adapter."""
    targets: list[str] = Field(["query", "value"], min_length=1)
    """Names (or name ends) of the modules that get one."""


class TrainConfig(Settings):
    """How a model is fine-tuned. Every value here bears identity and can be searched by `tune.space`."""

    epochs: float = Field(1.0, gt=0, le=1000)
    """Passes over the training rows; a fraction is a part of one."""
    batch: int = Field(16, ge=1)
    """Rows of one update over all workers."""
    optimizer: In["train.optimizers"] = "adamw"
    """Member of train/optimizers."""
    schedule: In["train.schedules"] = "linear"
    """Member of train/schedules."""
    objective: In["train.objectives"] = "cross_entropy"
    """Member of train/objectives; a run that names none gets the one its task is made for."""
    clip: float | None = Field(1.0, gt=0)
    """Largest norm of the whole gradient; None is off."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the forward and backward pass; fp16 needs a GPU."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Share of activations dropped everywhere the model has dropout; None keeps the model's own."""
    freeze: int = Field(0, ge=0)
    """So many encoder layers, counted from the input, are not trained, and neither are the embeddings; 0 trains everything.
    Cheaper steps, smaller checkpoints, and the model keeps more of what it knew."""
    lora: LoraConfig | None = None
    """Train low-rank adapters and the head only; None trains everything."""
    validate_every: float = Field(0.25, gt=0)
    """Epochs between validations; the last step is always validated."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
