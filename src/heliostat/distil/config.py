"""Settings of distillation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from heliostat.core.settings import Settings
from heliostat.train.config import TrainConfig
from heliostat.train.objectives.distillation import Distillation

VERSION = 1


class DistilConfig(Settings):
    """A smaller model taught by the soft targets of the teacher, which are written once."""

    layers: int = Field(3, ge=1)
    """Encoder layers of the student, taken evenly from `start`."""
    start: Literal["best", "base"] = "best"
    """Whose weights the student starts from: the best single model, or the pretrained base."""
    train: TrainConfig = TrainConfig(epochs=2.0, objective=Distillation())
    """How the student is trained; the objective must be one that reads a teacher."""
