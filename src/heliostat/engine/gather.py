"""Rows, and parts of rows, out of memory-mapped Arrow: what is asked for is copied, and nothing else is touched.

`pyarrow.Table.take` joins all chunks of a list or string column before it looks at the first index, which reads the
whole corpus into memory; here every chunk is asked for its own rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Chunks:
    """A table, seen as the record batches it was written in."""

    def __init__(self, table: Any):
        self.schema = table.schema
        self._batches = table.to_batches()
        self._starts = _starts(self._batches)

    def take(self, rows: np.ndarray) -> Any:
        """The rows at `rows`, in that order, as one record batch."""
        import pyarrow as pa

        rows = np.asarray(rows, dtype=np.int64)
        if not len(rows):
            return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in self.schema], schema=self.schema)
        if len(self._batches) == 1:
            return self._batches[0].take(pa.array(rows))
        order = np.argsort(rows, kind="stable")
        rising = rows[order]
        used, first = np.unique(np.searchsorted(self._starts, rising, side="right") - 1, return_index=True)
        groups = zip(used.tolist(), np.split(rising, first[1:]), strict=True)
        parts = [self._batches[number].take(pa.array(mine - self._starts[number])) for number, mine in groups]
        back = np.empty(len(rows), dtype=np.int64)
        back[order] = np.arange(len(rows))
        return pa.concat_batches(parts).take(pa.array(back))


def _starts(chunks: Sequence[Any]) -> np.ndarray:
    """The row number at which each chunk begins."""
    return np.cumsum([0, *map(len, chunks)], dtype=np.int64)[:-1]


class Lists:
    """A column of lists of numbers, seen through its own buffers."""

    def __init__(self, column: Any):
        assert column.null_count == 0, "a list is missing"
        self.type = column.type
        self._starts = _starts(column.chunks)
        self._offsets = [chunk.offsets.to_numpy() for chunk in column.chunks]
        self._values = [chunk.values.to_numpy(zero_copy_only=True) for chunk in column.chunks]

    def lengths(self) -> np.ndarray:
        """Numbers in each list [rows]."""
        return np.concatenate([np.zeros(0, np.int64), *(np.diff(offsets) for offsets in self._offsets)]).astype(np.int64)

    def parts(self, row_P: np.ndarray, start_P: np.ndarray, stop_P: np.ndarray) -> np.ndarray:
        """The numbers [`start`, `stop`) of each list in `row_P`, one after the other."""
        length_P = stop_P - start_P
        first_P = np.cumsum(length_P) - length_P
        chunk_P = np.searchsorted(self._starts, row_P, side="right") - 1
        out = np.empty(int(length_P.sum()), self.type.value_type.to_pandas_dtype())
        for chunk in np.unique(chunk_P):
            mine = chunk_P == chunk
            begin = self._offsets[chunk][row_P[mine] - self._starts[chunk]] + start_P[mine]
            out[ranges(first_P[mine], length_P[mine])] = self._values[chunk][ranges(begin, length_P[mine])]
        return out


def ranges(first_P: np.ndarray, length_P: np.ndarray) -> np.ndarray:
    """`first` .. `first + length - 1` of every part, one after the other."""
    before_P = np.cumsum(length_P) - length_P
    return np.arange(int(length_P.sum())) + np.repeat(first_P - before_P, length_P)
