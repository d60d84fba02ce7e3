"""Train once: a gang with one order after another, each to the next validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from heliostat.artifacts import Corpus, Model
from heliostat.core.errors import UserError
from heliostat.core.workspace import Context
from heliostat.engine.driver import source_of
from heliostat.engine.orders import ModelSource
from heliostat.engine.streams import opened, packed
from heliostat.train.auxiliary import targets_of
from heliostat.train.batching import batches, interval, rows_of_update
from heliostat.train.config import VERSION, TrainConfig
from heliostat.train.lacking import tell_lacking
from heliostat.train.orders import Export, Train
from heliostat.train.reference import written_losses

__all__ = ["VERSION", "export", "fit", "train_fully", "training"]


def fit(config: TrainConfig, *, ctx: Context, model: Any, corpus: Corpus, task: Any) -> Model:
    """Fine-tune `model` on the corpus; the model at its best validated step, exported and verified."""
    fields = training(config, ctx=ctx, source=source_of(model), corpus=corpus, task=task)
    train_fully(fields, ctx)
    return export(fields, ctx, name="trained")


def training(config: TrainConfig, *, ctx: Context, source: ModelSource, corpus: Corpus, task: Any, key: str = "train") -> dict[str, Any]:
    """The fields that every order of one training shares."""
    engine, layout = ctx.engine, ctx.layout
    if wrong := config.objective.problems(corpus.labels):
        raise UserError([f"{ctx.name}.objective.{problem}" for problem in wrong])
    curriculum = config.curriculum
    files = corpus.split("train")
    train_rows = engine.prepare(files, task=task, labels=corpus.labels, model=source, keep=config.kept())
    tell_lacking(train_rows, files, task, ctx)
    targets_of(opened(train_rows), config.auxiliary)  # refused here and not by a worker
    if config.packing:
        train_rows = packed(train_rows, task.max_tokens, shifted=task.shifted)
    losses = None
    if curriculum is not None and curriculum.needs_losses:
        losses = written_losses(Path(curriculum.model), ctx.folder, engine=engine, corpus=corpus, task=task)
    rows = opened(train_rows)
    batch_rows = rows_of_update(config, rows.lengths_N, layout.workers)
    return {
        "task": task,
        "key": f"{ctx.fingerprint}/{key}",
        "folder": ctx.folder / key,
        "model": source,
        "labels": corpus.labels,
        "train": config,
        "train_rows": train_rows,
        "valid_rows": engine.prepare(corpus.split("valid"), task=task, labels=corpus.labels, model=source, keep=config.kept()),
        "seed": ctx.seed,
        "losses": losses,
        "total": batches(config, rows, ctx.seed, losses_N=np.load(losses) if losses else None).steps(config.epochs),
        "metric": task.metric,
        "zero": layout.zero,
        "offload": layout.offload,
        "memory_gb": layout.memory_gb,
        "compiled": layout.compile,
        "frozen_gb": layout.frozen_gb,
        "batch_rows": batch_rows if config.batch_tokens is not None else None,
        "micro_rows": layout.micro_rows(batch_rows),
    }


def train_fully(fields: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Train to the end in orders of one validation interval; returns what was reached.

    What an order saves is written while the next one trains: a kill costs at most what was not yet written and the interval at hand.
    """
    total = fields["total"]
    train, losses = fields["train"], fields["losses"]
    every = interval(train, batches(train, opened(fields["train_rows"]), fields["seed"], losses_N=np.load(losses) if losses else None))
    listener = _teller(ctx, fields["key"], fields["metric"])
    ctx.engine.listeners.append(listener)
    try:
        for until in [*range(every, total, every), total]:
            reached = ctx.engine.perform(Train(**fields, until=until, resumable=until < total, behind=until < total)).value
            ctx.show.update(ctx.name, until, total, "steps", f"validation {reached['best']['value']:.4f}" if reached["best"] else "")
            if reached["over"]:
                ctx.show.message(f"{ctx.name}: no better validation for a while; ended after {reached['step']} of {total} steps")
                break
    finally:
        ctx.engine.listeners.remove(listener)
    if skipped := reached.get("skipped_steps", 0):
        told = f"skipped_steps {skipped}: so many of {reached['step']} updates overflowed in {train.precision} and were not made"
        ctx.show.message(f"{ctx.name}: {told}")
    return reached


def _teller(ctx: Context, key: str, metric: str) -> Any:
    def tell(event: dict[str, Any]) -> None:
        if event["kind"] == "step" and event["key"] == key:
            ctx.show.update(ctx.name, event["step"], event["total"], "steps", f"loss {event['loss']:.4f}")
        if event["kind"] == "valid" and event["key"] == key and event["value"] is None:
            told = f"{metric} has no value for the answers at step {event['step']}, which may be all alike"
            ctx.show.message(f"{ctx.name}: {told}; that counts as the worst, and the training goes on")

    return tell


def export(fields: dict[str, Any], ctx: Context, *, name: str) -> Model:
    """The training's best step as a verified model folder."""
    out: Path = ctx.folder / "model"
    facts = ctx.engine.perform(Export(**fields, out=out)).value
    return exported(fields, out, facts, name=name, stage=ctx.name, fingerprint=ctx.fingerprint)


def exported(fields: dict[str, Any], out: Path, facts: dict[str, Any], *, name: str, stage: str, fingerprint: str) -> Model:
    """The `Model` of an export that was verified."""
    from heliostat.core.manifest import read_json

    best = read_json(fields["folder"] / "result.json")["best"]
    return Model(
        fingerprint=fingerprint,
        name=name,
        stage=stage,
        path=out,
        labels=fields["labels"],
        params=facts["params"],
        bytes=facts["bytes"],
        score=best["value"],
        valid=fields["folder"] / "valid.npy",
    )
