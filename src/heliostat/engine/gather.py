"""Rows, and parts of rows, out of memory-mapped Arrow: what is asked for is copied, and nothing else is touched.

`pyarrow.Table.take` joins all chunks of a list or string column before it looks at the first index, which reads the
whole corpus into memory; here every chunk is asked for its own rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def taken(table: Any, rows: np.ndarray) -> Any:
    """The rows of a `pyarrow.Table` at `rows`, in that order, as a table of one chunk."""
    import pyarrow as pa

    arrays = [taken_column(table.column(i), rows) for i in range(table.num_columns)]
    return pa.Table.from_arrays(arrays, schema=table.schema)


def taken_column(column: Any, rows: np.ndarray) -> Any:
    """The values of a chunked column at `rows`, in that order, as one array."""
    import pyarrow as pa

    rows = np.asarray(rows, dtype=np.int64)
    if not len(rows):
        return pa.array([], column.type)
    starts = chunk_starts(column)
    order = np.argsort(rows, kind="stable")
    chunk_of = np.searchsorted(starts, rows[order], side="right") - 1
    parts = [column.chunk(c).take(pa.array(rows[order[chunk_of == c]] - starts[c])) for c in np.unique(chunk_of)]
    back = np.empty(len(rows), dtype=np.int64)
    back[order] = np.arange(len(rows))
    return pa.concat_arrays(parts).take(pa.array(back))


def chunk_starts(column: Any) -> np.ndarray:
    """The row number at which each chunk begins."""
    lengths = [len(chunk) for chunk in column.chunks]
    return np.cumsum([0, *lengths], dtype=np.int64)[:-1]


class Lists:
    """A column of lists of numbers, seen through its own buffers."""

    def __init__(self, column: Any):
        assert column.null_count == 0, "a list is missing"
        self.type = column.type
        self.starts = chunk_starts(column)
        self._offsets = [chunk.offsets.to_numpy() for chunk in column.chunks]
        self._values = [chunk.values.to_numpy(zero_copy_only=True) for chunk in column.chunks]

    def lengths(self) -> np.ndarray:
        """Numbers in each list [rows]."""
        return np.concatenate([np.zeros(0, np.int64), *(np.diff(offsets) for offsets in self._offsets)]).astype(np.int64)

    def parts(self, row_P: np.ndarray, start_P: np.ndarray, stop_P: np.ndarray) -> np.ndarray:
        """The numbers [`start`, `stop`) of each list in `row_P`, one after the other."""
        length_P = stop_P - start_P
        first_P = np.cumsum(length_P) - length_P
        chunk_P = np.searchsorted(self.starts, row_P, side="right") - 1
        out = np.empty(int(length_P.sum()), self.type.value_type.to_pandas_dtype())
        for chunk in np.unique(chunk_P):
            mine = chunk_P == chunk
            begin = self._offsets[chunk][row_P[mine] - self.starts[chunk]] + start_P[mine]
            out[ranges(first_P[mine], length_P[mine])] = self._values[chunk][ranges(begin, length_P[mine])]
        return out


def ranges(first_P: np.ndarray, length_P: np.ndarray) -> np.ndarray:
    """`first` .. `first + length - 1` of every part, one after the other."""
    before_P = np.cumsum(length_P) - length_P
    return np.arange(int(length_P.sum())) + np.repeat(first_P - before_P, length_P)
