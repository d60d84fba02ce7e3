"""What a training starts from: the model to train and the rows to train on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from heliostat.core import seeds
from heliostat.core.errors import UserError
from heliostat.engine import adapters, models, rates, trunk
from heliostat.engine.streams import Rows, opened, tokens_in
from heliostat.train.folds import folds

if TYPE_CHECKING:
    from heliostat.train.orders import Training


def trainable(order: Training, worker: Any, *, to_export: bool = False) -> Any:
    """The model as training starts from it: copied from the gang's, new head drawn, adapters in place; with all its bits to export it."""
    train, missing = order.train, worker.models.missing(order.model, order.labels, order.task)
    module = worker.models.fresh(order.model, order.labels, order.task, order.seed)
    order.task.begin(module, missing, lambda: rows_of(order.train_rows, order.valid_rows, order.fold)[0].targets(order.task))
    if train.dropout is not None:
        models.set_dropout(module, train.dropout)
    if train.freeze:
        models.freeze(module, train.freeze)
        trunk.still(module)
    if train.gradient_checkpointing:
        if not module.supports_gradient_checkpointing:
            raise UserError(
                f"train.gradient_checkpointing: {type(module).__name__} has no layers that can be computed again. Leave it out."
            )
        module.gradient_checkpointing_enable()
        if train.adapter is not None:
            module.enable_input_require_grads()  # what is recomputed has a gradient only if its input has one
        elif train.freeze:
            module.disable_input_require_grads()  # transformers asks for it: gradients would go through all that is frozen
    if train.adapter is None:
        _leave_unnamed(module, order)
        return module
    if getattr(train.adapter, "base_bits", None) and not to_export:
        adapters.in_four_bits(module, adapters.head_of(module, missing))
    return adapters.put_in(module, train.adapter, missing, seeds.derive(order.seed, "adapter"))


def _leave_unnamed(module: Any, order: Training) -> None:
    """Take the rows of the input embedding out of training that no text names, where they would be the same but for weight decay.

    A task that draws tokens names more than its rows hold, and an optimiser that looks at a parameter as a whole sees another one.
    """
    named_N = tokens_in(order.train_rows, order.valid_rows)
    if named_N is not None and not order.task.is_drawn and not order.train.optimizer.whole:
        from heliostat.engine import vocabulary

        vocabulary.shrink(module, named_N)


def rates_of(order: Training, module: Any, worker: Any) -> list[rates.Part]:
    """The parts of `module` that learn at rates of their own, with their shares of the optimiser's; empty when none does."""
    train = order.train
    missing = worker.models.missing(order.model, order.labels, order.task)
    head = None if train.head_lr is None else train.head_lr / train.optimizer.lr
    return rates.parts(module, missing, head=head, decay=train.layer_decay)


def rows_of(train_rows: Path, valid_rows: Path, fold: tuple[int, int, int] | None) -> tuple[Rows, Rows]:
    """(rows to train on, rows to validate on); `fold` is (which, of how many, seed)."""
    train, valid = opened(train_rows), opened(valid_rows)
    if fold is None:
        return train, valid
    which, count, seed = fold
    every = train.beside(valid)
    fold_N = folds(every.column("id")[every.first_N], every.strata()[every.first_N], count, seed)
    held_N = fold_N[every.origin_N] == which  # the pieces of a text stay together
    return every.only(~held_N), every.only(held_N)
