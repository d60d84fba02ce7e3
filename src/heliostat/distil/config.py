"""Settings of distillation."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

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

    @field_validator("train", mode="before")
    @classmethod
    def _taught(cls, value: Any) -> Any:
        """Settings that name no objective keep the one that reads a teacher."""
        return {"objective": "distillation", **value} if isinstance(value, dict) else value
