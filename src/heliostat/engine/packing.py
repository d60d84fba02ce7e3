"""Packing: prepared documents into rows of `capacity` tokens, each document with its own positions.

Nothing is padded away and nothing is trained twice: a packed row has exactly the trained targets of its documents. The
packed table is written piece by piece, so memory is that of the plan (some tens of bytes a document) and of one batch.
How documents in one row are kept from seeing each other is engine/isolation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from heliostat.engine.bins import best_fit_decreasing
from heliostat.engine.gather import Chunks, Lists

UNTRAINED = -100
"""The label of a token that is not trained on."""
BATCH_TOKENS = 1 << 20
"""Tokens of packed rows that are held in memory at once."""

Long = Literal["split", "cut"]


@dataclass(frozen=True)
class Plan:
    """Which tokens of which document go into which packed row.

    Piece p is tokens `start_P[p]` .. `stop_P[p]` - 1 of document `row_P[p]`; packed row b holds the pieces
    `first_B[b]` .. `first_B[b + 1]` - 1.
    """

    row_P: np.ndarray
    start_P: np.ndarray
    stop_P: np.ndarray
    first_B: np.ndarray

    @property
    def bins(self) -> int:
        """Packed rows."""
        return len(self.first_B) - 1

    def tokens_B(self) -> np.ndarray:
        """Tokens of each packed row."""
        ends_P = np.concatenate([[0], np.cumsum(self.stop_P - self.start_P)])
        return np.diff(ends_P[self.first_B])


def plan(lengths_N: np.ndarray, weights_N: np.ndarray, capacity: int, *, long: Long = "split", shifted: bool = True) -> Plan:
    """Where everything goes: a pure function of the lengths and the weights; documents of different weights share no row.

    A document longer than `capacity` is split into pieces or cut at the end. In a model whose labels are `shifted` (a
    token is predicted from the ones before it) a later piece begins with the last token of the piece before, as
    context: its first target is predicted from something, and no target is lost.
    """
    row_P, start_P, stop_P = pieces(lengths_N, capacity, long=long, overlap=int(shifted))
    length_P = stop_P - start_P
    bin_P = np.empty(len(row_P), dtype=np.int64)
    bins = 0
    _, group_N = np.unique(weights_N, return_inverse=True)
    by_group = np.argsort(group_N[row_P], kind="stable")
    for mine in np.split(by_group, np.flatnonzero(np.diff(group_N[row_P][by_group])) + 1):
        bin_P[mine] = bins + best_fit_decreasing(length_P[mine], capacity)
        bins = int(bin_P[mine].max(initial=bins - 1)) + 1
    # Packed rows follow the corpus: by the first document in them, and inside one by document.
    _, first_P = np.unique(bin_P, return_index=True)  # pieces are in corpus order: the first index is the smallest row
    place_B = np.empty(bins, dtype=np.int64)
    place_B[np.argsort(first_P, kind="stable")] = np.arange(bins)
    order_P = np.argsort(place_B[bin_P], kind="stable")
    first_B = np.concatenate([[0], np.cumsum(np.bincount(place_B[bin_P], minlength=bins))])
    return Plan(row_P[order_P], start_P[order_P], stop_P[order_P], first_B)


def pieces(lengths_N: np.ndarray, capacity: int, *, long: Long, overlap: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(document, first token, last token + 1) of every piece, in corpus order; all but the last of a document are full.

    A later piece begins `overlap` tokens (0 or 1) before the end of the one before.
    """
    lengths_N = np.asarray(lengths_N, dtype=np.int64)
    if long == "cut":
        return np.arange(len(lengths_N)), np.zeros(len(lengths_N), np.int64), np.minimum(lengths_N, capacity)
    stride = capacity - overlap
    assert stride >= 1, "a bin of one token holds context and no target"
    count_N = np.maximum(1, -(-(lengths_N - overlap) // stride))
    row_P = np.repeat(np.arange(len(lengths_N)), count_N)
    start_P = (np.arange(len(row_P)) - np.repeat(np.cumsum(count_N) - count_N, count_N)) * stride
    return row_P, start_P, np.minimum(start_P + capacity, lengths_N[row_P])


def pack(table: Any, capacity: int, file: Path, *, long: Long = "split", shifted: bool = True) -> Any:
    """Pack the prepared rows of `table` into `file` (Arrow IPC); the packed table, memory-mapped.

    `table` has `id`, `weight`, `input_ids`, `labels` (lists of one length, -100 is not trained on) and `units`, the trained
    targets of a row. A packed row has

        id           that of its first document
        weight       that of all its documents
        input_ids    of all its documents, one after the other
        labels       the same; the first of every piece is -100 when labels are shifted
        position_ids 0, 1, ... in every document; in a later piece they begin at 0 again
        documents    tokens of each document, or of each piece of one that was split
        ids          the id of each of these
        pieces       which piece of a text each of these is: 0 where `table` has no `piece`
        words        of all its documents, where `table` has them
        rows         how many these are
        units        trained targets

    A row of no units is not trained on, and is left out.
    """
    import pyarrow as pa

    columns = _Columns(table, shifted)
    units_N = table.column("units").to_numpy()
    kept_N = np.flatnonzero(units_N > 0)
    planned = plan(columns.lengths_N[kept_N], columns.weights_N[kept_N], capacity, long=long, shifted=shifted)
    planned = replace(planned, row_P=kept_N[planned.row_P])
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(file.name + ".tmp")
    targets = 0.0
    with pa.ipc.new_file(str(temporary), columns.schema()) as writer:
        for batch in columns.packed(planned):
            writer.write_batch(batch)
            targets += float(batch.column("units").to_numpy().sum(dtype=np.float64))
    cut = long == "cut" and bool((columns.lengths_N > capacity).any())
    units = float(units_N.sum(dtype=np.float64))
    assert cut or targets == units, f"{targets} targets are trained on, and `units` of the rows are {units}"
    temporary.rename(file)
    return pa.ipc.open_file(pa.memory_map(str(file))).read_all()


class _Columns:
    """The columns of a prepared table that packing reads."""

    def __init__(self, table: Any, shifted: bool):
        self.ids, self.shifted = Chunks(table.select(["id"])), shifted
        self.input_ids, self.labels = Lists(table.column("input_ids")), Lists(table.column("labels"))
        self.words = Lists(table.column("words")) if "words" in table.column_names else None
        self.pieces_N = table.column("piece").to_numpy() if "piece" in table.column_names else np.zeros(table.num_rows, np.int32)
        self.lengths_N, self.weights_N = self.input_ids.lengths(), table.column("weight").to_numpy()
        assert np.array_equal(self.lengths_N, self.labels.lengths()), "input_ids and labels of a row differ in length"

    def schema(self) -> Any:
        """That of packed rows."""
        import pyarrow as pa

        numbers = pa.list_(pa.int32())
        words = {} if self.words is None else {"words": pa.list_(self.words.type.value_type)}
        return pa.schema({
            "id": pa.string(),
            "weight": pa.float32(),
            "input_ids": pa.list_(self.input_ids.type.value_type),
            "labels": pa.list_(self.labels.type.value_type),
            "position_ids": numbers,
            "documents": numbers,
            "ids": pa.list_(pa.string()),
            "pieces": numbers,
            "rows": pa.int32(),
            "units": pa.float32(),
            **words,
        })  # fmt: skip

    def packed(self, planned: Plan) -> Iterator[Any]:
        """Record batches of packed rows, each of about `BATCH_TOKENS` tokens."""
        ends_B = np.cumsum(planned.tokens_B())
        low = 0
        while low < planned.bins:
            before = int(ends_B[low - 1]) if low else 0
            high = max(low + 1, int(np.searchsorted(ends_B, before + BATCH_TOKENS, side="right")))
            yield self._batch(planned, low, high)
            low = high

    def _batch(self, planned: Plan, low: int, high: int) -> Any:
        """Packed rows `low` .. `high` - 1."""
        import pyarrow as pa

        first_B = planned.first_B[low : high + 1]
        part = slice(first_B[0], first_B[-1])
        row_P, start_P, stop_P = planned.row_P[part], planned.start_P[part], planned.stop_P[part]
        first_B = first_B - first_B[0]
        length_P = stop_P - start_P
        end_P = np.cumsum(length_P)
        labels = self.labels.parts(row_P, start_P, stop_P)
        if self.shifted:
            labels[end_P - length_P] = UNTRAINED  # nothing in its own document stands before it
        trained = np.concatenate([[0], np.cumsum(labels != UNTRAINED)])
        edge_B = np.concatenate([[0], end_P])[first_B]
        ids = self.ids.take(row_P).column(0).cast(pa.string())
        offsets, of_pieces = pa.array(edge_B, pa.int32()), pa.array(first_B, pa.int32())
        arrays = {
            "id": ids.take(pa.array(first_B[:-1])),
            "weight": pa.array(self.weights_N[row_P[first_B[:-1]]], pa.float32()),
            "input_ids": pa.ListArray.from_arrays(offsets, self.input_ids.parts(row_P, start_P, stop_P)),
            "labels": pa.ListArray.from_arrays(offsets, labels),
            "position_ids": pa.ListArray.from_arrays(offsets, _positions(length_P)),
            "documents": pa.ListArray.from_arrays(of_pieces, pa.array(length_P, pa.int32())),
            "ids": pa.ListArray.from_arrays(of_pieces, ids),
            "pieces": pa.ListArray.from_arrays(of_pieces, pa.array(self.pieces_N[row_P], pa.int32())),
            "rows": pa.array(np.diff(first_B), pa.int32()),
            "units": pa.array(np.diff(trained[edge_B]), pa.float32()),
        }
        if self.words is not None:
            arrays["words"] = pa.ListArray.from_arrays(offsets, self.words.parts(row_P, start_P, stop_P))
        return pa.RecordBatch.from_arrays([arrays[name] for name in self.schema().names], schema=self.schema())


def _positions(length_P: np.ndarray) -> np.ndarray:
    """0, 1, ... in every piece."""
    first_P = np.cumsum(length_P) - length_P
    return (np.arange(int(length_P.sum())) - np.repeat(first_P, length_P)).astype(np.int32)
