"""Settings of pseudo-labelling."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from heliostat.core.family import build
from heliostat.core.settings import Settings
from heliostat.corpus.config import CorpusConfig
from heliostat.train.config import TrainConfig

VERSION = 1


class PseudoLabelConfig(Settings):
    """The best predictor so far labels text that has none; where it is sure, its labels are trained on with the given ones (Lee, 2013)."""

    corpus: CorpusConfig
    """Text of the team's field; labels are not needed. Texts that are like a valid or test row of the run's corpus are left out."""
    min_confidence: float = Field(0.95, gt=0, lt=1)
    """Least probability of the label that is given; a text with less is left out."""
    weight: float = Field(1.0, gt=0, le=100)
    """Of a row that was labelled so, beside 1 of a row with its own label."""
    train: TrainConfig = TrainConfig()
    """How the new model is trained, from the same pretrained model."""

    def identity(self) -> dict[str, Any]:
        """The texts are an input of the stage, and stand for themselves."""
        return {"min_confidence": self.min_confidence, "weight": self.weight, "train": self.train.identity()}

    @staticmethod
    def reads() -> Any:
        """The task that text alone is a row of."""
        return build("tasks", "masked_lm")

    def problems(self, task: Any) -> list[str]:
        """What cannot be meant beside the run's `task`, each beginning with its path."""
        if task.answers_are == "labels" and task.reads == "text" and not getattr(task, "pair", False):
            return self.corpus.problems(self.reads())
        told = "pairs of texts" if getattr(task, "pair", False) else task.name()
        return [f"it gives one label to one text, and this run is about {told}. Leave it out."]
