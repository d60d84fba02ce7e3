"""A student: the teacher's soft targets are written once, then it is a training run like any other."""

from __future__ import annotations

from typing import Any

import numpy as np

from heliostat.artifacts import Corpus, Model
from heliostat.core.workspace import Context
from heliostat.distil.config import VERSION, DistilConfig
from heliostat.engine.driver import source_of
from heliostat.engine.orders import ModelSource
from heliostat.train.stage import export, train_fully, training

__all__ = ["VERSION", "teach"]


def teach(config: DistilConfig, *, ctx: Context, teacher: Any, best: Model, model: Any, corpus: Corpus, task: Any) -> Model:
    """A student of `config.layers` layers, taught by `teacher` (any predictor) on the training rows."""
    ctx.show.update(ctx.name, 0, 1, "steps", "writing the teacher's soft targets")
    targets = ctx.folder / "teacher.npy"
    logits_NC = ctx.engine.predict(teacher, corpus.split("train"), task=task, show=ctx.name)
    ctx.folder.mkdir(parents=True, exist_ok=True)
    np.save(targets, log_softmax(logits_NC))
    start = ModelSource(folder=str(best.path)) if config.start == "best" else source_of(model)
    source = start.model_copy(update={"spread": config.layers})
    fields = training(config.train, ctx=ctx, source=source, corpus=corpus, task=task) | {"teacher": targets}
    train_fully(fields, ctx)
    return export(fields, ctx, name="student")


def log_softmax(logits_NC: np.ndarray) -> np.ndarray:
    """Log-probabilities [rows, labels] in float32."""
    shifted = logits_NC.astype(np.float64) - logits_NC.max(-1, keepdims=True)
    return (shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))).astype(np.float32)
