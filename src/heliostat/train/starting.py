"""What a training starts from: the model to train and the rows to train on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heliostat.core import seeds
from heliostat.engine import adapters, models
from heliostat.engine.streams import Rows, opened
from heliostat.train.folds import folds

if TYPE_CHECKING:
    from heliostat.train.orders import Training


def trainable(order: Training, worker: Any) -> Any:
    """The model as training starts from it: copied from the gang's, new head drawn, adapters in place."""
    module = worker.models.fresh(order.model, order.labels, order.task, order.seed)
    missing = worker.models.missing(order.model, order.labels, order.task)
    order.task.begin(module, missing, lambda: rows_of(order)[0].targets(order.task))
    if order.train.dropout is not None:
        models.set_dropout(module, order.train.dropout)
    if order.train.freeze:
        models.freeze(module, order.train.freeze)
    if order.train.gradient_checkpointing:
        module.gradient_checkpointing_enable()
    if order.train.lora is None:
        return module
    return adapters.wrap(module, order.train.lora.dump(), missing, seeds.derive(order.seed, "adapter"))


def rows_of(order: Training) -> tuple[Rows, Rows]:
    """(rows to train on, rows to validate on)."""
    train, valid = opened(order.train_rows), opened(order.valid_rows)
    if order.fold is None:
        return train, valid
    which, count, seed = order.fold
    every = train.beside(valid)
    held_N = folds(every.column("id"), every.strata(), count, seed) == which
    return every.only(~held_N), every.only(held_N)
