"""Settings of continued pretraining."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from heliostat.core.errors import UserError
from heliostat.core.family import In, members
from heliostat.core.settings import Settings
from heliostat.corpus.config import CorpusConfig
from heliostat.train.config import TrainConfig

VERSION = 1
PREDICTS = "likelihood"
"""What the tasks answer with that text alone can train."""


class ReplayConfig(CorpusConfig):
    """General text among the team's own, so that the model keeps what it knew (Ibrahim et al., 2024, arXiv:2403.08763)."""

    share: float = Field(0.2, gt=0, lt=1)
    """Share of the training rows that are general text."""

    def corpus(self) -> CorpusConfig:
        """The general text, whatever its share will be."""
        return CorpusConfig(**{name: getattr(self, name) for name in CorpusConfig.model_fields})


class PretrainConfig(Settings):
    """The model goes on learning from plain text of the field; what comes out takes the place of `model` in the rest of the run."""

    task: In["tasks"] = "masked_lm"
    """masked_lm for encoders, causal_lm for decoders."""
    corpus: CorpusConfig
    """Text of the team's field; labels are not needed. Texts that are like a valid or test row of the run's corpus are left out."""
    replay: ReplayConfig | None = None
    """General text that is mixed in; None is off."""
    train: TrainConfig = TrainConfig()
    """How the model is trained on it."""

    def identity(self) -> dict[str, Any]:
        """The texts are inputs of the stage, and stand for themselves."""
        return {"task": self.task.identity(), "train": self.train.identity(), "share": self.replay.share if self.replay else None}

    def problems(self) -> list[str]:
        """What cannot be meant, each beginning with its path."""
        found = []
        if self.task.answers_are != PREDICTS or self.task.reads != "text":
            able = [name for name, kind in members("tasks").items() if kind.answers_are == PREDICTS]  # type: ignore[attr-defined]
            found.append(f"task: {self.task.name()} does not learn from text alone. Allowed: {', '.join(able)}.")
        if self.train.adapter is not None and not self.train.adapter.merges:
            found.append(f"train.adapter: {self.train.adapter.name()} stays beside its model, and the rest of the run needs one. Use lora.")
        return found


def enough(share: float, rows: int, general: int) -> int:
    """General rows that make up `share` beside `rows` others; `UserError` when there are only `general` of them."""
    wanted = max(1, round(rows * share / (1 - share)))
    if wanted <= general:
        return wanted
    possible = general / (general + rows)
    raise UserError(
        f"pretrain.replay.share: {share:g} beside {rows:,} rows of the field takes {wanted:,} general rows, and there are {general:,}."
        f" Add general text, or lower the share to {int(possible * 1000) / 1000:g}."
    )
