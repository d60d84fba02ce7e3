"""When what frozen layers give is kept for a training, and for which of its rows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from heliostat.engine.streams import Prepared, Rows, processor
from heliostat.engine.trunk import Trunk, mark, resting

if TYPE_CHECKING:
    from heliostat.train.orders import Train


def trunk(order: Train, module: Any, stage: int) -> Trunk | None:
    """The frozen layers of `module`, where their output can be kept: nothing about a row may be random or depend on other rows."""
    train = order.train
    ever = train.freeze and order.frozen_gb > 0 and stage < 3 and order.fold is None
    if not ever or train.adapter is not None or train.regularizer is not None or train.packing or order.task.is_drawn:
        return None
    layers = resting(module)
    return Trunk(module, layers, mark(module, layers, train.precision)) if layers else None


def kept(trunk: Trunk | None, order: Train, rows: Rows, valid: Rows, worker: Any) -> Callable[[Rows, np.ndarray], AbstractContextManager]:
    """What to enter around a pass of some rows: what their frozen layers give is then taken from what is kept, if anything is."""
    room, prepared = order.frozen_gb * 2**30, processor(order.task, order.model.folder)
    used = order.total * (order.batch_rows or order.train.batch) >= len(rows)  # else most would be computed for nothing
    for each in (rows, valid):
        if trunk is not None and used and isinstance(each, Prepared) and len(each):
            room -= trunk.keep(each, order.task, prepared, worker.group, room)
    return nothing if trunk is None else trunk.given


def nothing(rows: Rows, places: np.ndarray) -> AbstractContextManager[None]:
    """Every layer is asked."""
    return nullcontext()
