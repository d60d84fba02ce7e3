"""When what frozen layers give is kept for a training, and for which of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heliostat.engine.predict import Given, nothing_given
from heliostat.engine.streams import Prepared, Rows, processor
from heliostat.engine.trunk import Trunk, mark, resting
from heliostat.train.config import TrainConfig

if TYPE_CHECKING:
    from heliostat.train.orders import Train


def possible(train: TrainConfig, task: Any) -> bool:
    """Whether what frozen layers give could be kept: nothing about a row may be random or depend on other rows."""
    return bool(train.freeze) and train.adapter is None and train.regularizer is None and not train.packing and not task.is_drawn


def trunk(order: Train, module: Any, stage: int) -> Trunk | None:
    """The frozen layers of `module`, where their output can be kept and there is room for it."""
    if not possible(order.train, order.task) or order.frozen_gb == 0 or stage == 3 or order.fold is not None:
        return None
    layers = resting(module)
    return Trunk(module, layers, mark(module, layers, order.train.precision)) if layers else None


def kept(trunk: Trunk | None, order: Train, rows: Rows, valid: Rows, worker: Any) -> Given:
    """What to enter around a pass of some rows: what their frozen layers give is then taken from what is kept, if anything is."""
    room, prepared = order.frozen_gb * 2**30, processor(order.task, order.model.folder, order.model.revision)
    used = order.total * (order.batch_rows or order.train.batch) >= len(rows)  # else most would be computed for nothing
    for each in (rows, valid):
        if trunk is not None and used and isinstance(each, Prepared) and len(each):
            room -= trunk.keep(each, order.task, prepared, worker.group, room)
    return nothing_given if trunk is None else trunk.given
