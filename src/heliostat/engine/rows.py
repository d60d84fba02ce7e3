"""Pieces of work mapped over the cluster by Ray Data, results in the order of the pieces.

The function catches what is wrong with single rows itself: an error that leaves it ends the run. A result travels as
one value, so a piece gives exactly one table, empty or not, and tables of different pieces need not agree on types.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from heliostat.core.errors import HeliostatError


def read(pieces: Sequence[dict[str, Any]], function: Callable[[dict[str, Any]], Any], *, concurrency: int | None = None) -> Iterator[Any]:
    """`function(piece)`, a pyarrow table, for every piece, in order.

    `concurrency` limits how many run at once; None is as many as the cluster has CPUs. An error of
    Heliostat's own is raised here as `function` raised it; any other ends the run inside Ray's error.
    """
    import pyarrow as pa
    import ray.data

    if not pieces:
        return
    dataset = ray.data.from_items([pickle.dumps(piece) for piece in pieces], override_num_blocks=len(pieces))
    dataset.context.execution_options.preserve_order = True
    dataset.context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # progress is told by whoever iterates
    dataset = dataset.map_batches(_Call(function), batch_size=1, batch_format="pyarrow", concurrency=concurrency)
    for batch in dataset.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=1):
        result = batch.column("result")[0].as_buffer()
        if batch.column("failed")[0].as_py():
            raise pickle.loads(result)
        yield pa.ipc.open_stream(result).read_all()


class _Call:
    """Calls the function on a pickled piece and packs its table."""

    def __init__(self, function: Callable[[dict[str, Any]], Any]):
        self.function = function
        self.__name__ = type(function).__name__

    def __call__(self, batch: Any) -> Any:
        import pyarrow as pa

        (item,) = batch.column("item").to_pylist()
        try:
            failed, result = False, _pack(self.function(pickle.loads(item)))
        except HeliostatError as error:  # travels as a value: Ray would wrap it and lose what it says
            failed, result = True, pickle.dumps(error)
        return pa.table({"failed": [failed], "result": pa.array([result], pa.large_binary())})


def _pack(table: Any) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
