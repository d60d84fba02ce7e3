"""The bytes of pictures and recordings, kept beside the table of rows.

A corpus of pictures is far larger than what is said about them, so the driver never holds their bytes: the piece that reads
rows writes the bytes to a file of its own and keeps their places in the table; when splits are written they are looked
up by place, a few megabytes at a time, through memory-mapped files. The files are deleted when all splits are written.
On a cluster they lie in the run's folder, which every node can write to.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = "bytes"
PIECE, PLACE, SIZE, CONTENT = "piece", "place", "size", "content"
"""Columns of the table: where a row's bytes are, how many there are, and what stands for them."""
BATCH_BYTES = 16 << 20
SHARD_BYTES, SHARD_ROWS = 64 << 20, 1024
"""Most bytes and rows of one file of a split: what one worker holds at once when it prepares rows, decoded ones too."""


def fields() -> dict[str, Any]:
    """The Arrow types of the columns that stand for the bytes."""
    import pyarrow as pa

    return {PIECE: pa.int64(), PLACE: pa.int64(), SIZE: pa.int64(), CONTENT: pa.string()}


class Writer:
    """Writes the bytes of one piece's rows; the file is in place, whole, when the `with` block ends without an error.

    Without a folder it only counts them: a look at small data before a run keeps no bytes.
    """

    def __init__(self, folder: Path | None, piece: int):
        self.piece, self._path = piece, file_of(folder, piece) if folder else None
        self._rows = self._held = 0
        self._batch: list[bytes] = []
        self._file: Any = None

    def __enter__(self) -> Writer:
        if self._path is not None:
            import pyarrow as pa

            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = pa.ipc.new_file(str(self._path.with_suffix(".tmp")), _schema())
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._path is not None:
            self._flush()
            self._file.close()
            if kind is None:
                self._path.with_suffix(".tmp").rename(self._path)

    def add(self, data: bytes) -> dict[str, int]:
        """Keep the bytes of one more row; the columns that say where they are."""
        self._rows += 1
        if self._file is not None:
            self._batch.append(data)
            self._held += len(data)
            if self._held >= BATCH_BYTES:
                self._flush()
        return {PIECE: self.piece, PLACE: self._rows - 1, SIZE: len(data)}

    def _flush(self) -> None:
        import pyarrow as pa

        if self._batch:
            self._file.write_batch(pa.record_batch([pa.array(self._batch, pa.large_binary())], schema=_schema()))
        self._batch, self._held = [], 0


def shards(sizes_N: np.ndarray, most_rows: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows (from, to) that make one file each."""
    start = held = 0
    for i, size in enumerate(sizes_N.tolist()):
        if i > start and (i - start >= min(most_rows, SHARD_ROWS) or held + size > SHARD_BYTES):
            yield start, i
            start, held = i, 0
        held += size
    if len(sizes_N):
        yield start, len(sizes_N)


def with_bytes(table: Any, column: str, order: list[str], folder: Path) -> Any:
    """The rows with their bytes instead of their places, columns as in `order`."""
    import pyarrow as pa

    pieces, places = table.column(PIECE).to_pylist(), table.column(PLACE).to_pylist()
    data = pa.array([_opened(folder, piece)[place].as_py() for piece, place in zip(pieces, places, strict=True)], pa.large_binary())
    return pa.table({name: data if name == column else table.column(name) for name in order})


def forget(folder: Path) -> None:
    """Delete the bytes of all pieces."""
    _opened.cache_clear()
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def file_of(folder: Path, piece: int) -> Path:
    """The file that holds the bytes of one piece."""
    return folder / FOLDER / f"{piece:07d}.arrow"


@lru_cache(maxsize=256)
def _opened(folder: Path, piece: int) -> Any:
    """The bytes of one piece, memory-mapped."""
    import pyarrow as pa

    return pa.ipc.open_file(pa.memory_map(str(file_of(folder, piece)))).read_all().column(0)


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema([("data", pa.large_binary())])
