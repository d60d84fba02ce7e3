"""Continued pretraining: a training like any other, on text; what it cost and gave in general is noted beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heliostat.artifacts import Corpus, Model
from heliostat.core.family import build
from heliostat.core.manifest import write_json
from heliostat.core.workspace import Context
from heliostat.pretrain.config import VERSION, PretrainConfig
from heliostat.pretrain.mixing import mixed
from heliostat.train import stage as train

__all__ = ["VERSION", "adapt"]

SCORES = "scores.json"


def adapt(config: PretrainConfig, *, ctx: Context, model: Any, corpus: Corpus, general: Corpus | None = None) -> Model:
    """`model` trained on the texts of `corpus`, with `general` ones among them; exported with its prediction head and verified.

    `scores.json` says how well texts of the field, and general ones, are predicted before and after.
    """
    assert (general is None) == (config.replay is None)
    rows = corpus
    if general is not None and config.replay is not None:
        rows = mixed(ctx.folder / "mixed", corpus, general, config.replay.share, ctx.seed)
    adapted = train.fit(config.train, ctx=ctx, model=model, corpus=rows, task=config.task).model_copy(update={"name": "pretrained"})
    grounds = {"field": corpus.split("valid")} | ({"general": general.split("valid")} if general is not None else {})
    found = {name: _told(ctx, config.task, {"before": model, "after": adapted}, files) for name, files in grounds.items()}
    counts = {"rows": rows.rows["train"], "general_rows": rows.rows["train"] - corpus.rows["train"]}
    write_json(ctx.folder / SCORES, {"metric": config.task.metric, **counts, "grounds": found})
    for name, value in found.items():
        ctx.show.message(f"{ctx.name}: {config.task.metric} on {name} texts {value['before']:.2f} before, {value['after']:.2f} after")
    return adapted


def _told(ctx: Context, task: Any, predictors: dict[str, Any], files: list[Path]) -> dict[str, float]:
    """The task's metric of each predictor on some rows."""
    metric: Any = build("metrics", task.metric)
    answers = {name: ctx.engine.predict(each, files, task=task, show=ctx.name) for name, each in predictors.items()}
    return {name: float(metric.value(found, [0.0] * len(found))) for name, found in answers.items()}
