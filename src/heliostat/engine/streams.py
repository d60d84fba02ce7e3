"""Prepared rows: tokenised once, kept as memory-mapped Arrow, read in an order that is a pure function.

Preparation does not depend on a trial, so it is done once per (corpus, task, tokenizer) and shared by every trial and
every worker of a node through the page cache: memory stays flat however large the corpus is, and a seek costs nothing.
The rows of step s are a function of (seed, s) alone, whatever the number of workers: that is what makes resume exact
and W = 1, 2, 4 train on the same global batches.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from heliostat.core import seeds
from heliostat.core.manifest import fingerprint, read_json, write_json
from heliostat.core.provenance import content_fingerprint
from heliostat.engine.gather import Chunks
from heliostat.tasks.config import PROCESSORS, TOKENIZERS

VERSION = 3
TARGET, UNITS, PIECE = "target", "units", "piece"
FROZEN = "frozen-"
"""Before the mark of the folders beside prepared rows that hold what frozen layers give (engine/trunk)."""
TOKENS = "tokens.npy"
"""In a folder of prepared rows: the token ids that they hold, rising."""
KEPT = "slice:"
"""Before the names of slices that stay with prepared rows."""


class Rows:
    """Prepared rows: a table that is looked into, never read whole.

    A row is one sequence: a row of the corpus, or a piece of one that its task splits; pieces follow each other and bear the row's id.
    """

    def __init__(self, table: Any):
        self.table, self._chunks = table, Chunks(table)
        self.columns = [c for c in table.column_names if c not in ("id", "weight", TARGET, UNITS, PIECE) and not c.startswith(KEPT)]
        """What a task makes a batch of."""
        self.lengths_N = self._lengths()

    def __len__(self) -> int:
        return self.table.num_rows

    def _lengths(self) -> np.ndarray:
        import pyarrow.compute as pc

        for name, measure in (("input_ids", pc.list_value_length), ("samples", pc.binary_length)):
            if name in self.columns:
                return measure(self.table.column(name)).to_numpy()
        return np.ones(len(self), int)

    @cached_property
    def first_N(self) -> np.ndarray:
        """Where each row of the corpus begins."""
        split = PIECE in self.table.column_names
        return np.flatnonzero(self.table.column(PIECE).to_numpy() == 0) if split else np.arange(len(self))

    @cached_property
    def origin_N(self) -> np.ndarray:
        """Which row of the corpus each sequence is of."""
        return np.repeat(np.arange(len(self.first_N)), np.diff(self.first_N, append=len(self)))

    def added(self, answers_N: np.ndarray) -> np.ndarray:
        """Answers about rows of the corpus from `answers_N` about all sequences: those about pieces added up."""
        if len(self.first_N) == len(self):
            return answers_N
        return np.add.reduceat(answers_N, self.first_N, dtype=np.float64).astype(answers_N.dtype)

    def take(self, indices: Sequence[int] | np.ndarray) -> dict[str, list[Any]]:
        """Columns of the rows at `indices`, in that order; `id` and `weight` included."""
        batch = self._chunks.take(np.asarray(indices, dtype=np.int64))
        return {name: batch.column(name).to_pylist() for name in self.table.column_names}

    def column(self, name: str) -> np.ndarray:
        """A scalar column or a kept slice as a numpy array [rows]; `KeyError` when there is none."""
        return self.table.column(KEPT + name if KEPT + name in self.table.column_names else name).to_numpy()

    def targets(self, task: Any) -> np.ndarray:
        """What the task's metrics compare answers with, one for each row of the corpus, [rows, ...]."""
        return task.stacked(self.table.column(TARGET).take(self.first_N).to_pylist())

    def strata(self) -> np.ndarray:
        """The class of each row [rows], where targets are classes; one class for all where they are not."""
        import pyarrow as pa

        whole = pa.types.is_integer(self.table.schema.field(TARGET).type)
        return self.column(TARGET) if whole else np.zeros(len(self), dtype=np.int64)

    def classes(self) -> np.ndarray:
        """Every target that is a class, of all rows one after another."""
        import pyarrow as pa

        column = self.table.column(TARGET).combine_chunks()
        if pa.types.is_list(column.type) and pa.types.is_integer(column.type.value_type):  # tags: a word may be several tokens
            column = self.table.column("labels").combine_chunks()
        flat = column.flatten() if pa.types.is_list(column.type) else column
        targets = flat.to_numpy(zero_copy_only=False)
        return targets[targets >= 0] if pa.types.is_integer(flat.type) else np.zeros(0, dtype=np.int64)

    def trainable(self) -> np.ndarray:
        """Indices of the rows that have something to train on, rising."""
        return np.flatnonzero(self.column(UNITS) > 0)

    def by_length(self, rows: int) -> Iterator[np.ndarray]:
        """All row indices, longest first, in batches of `rows`: the least padding for prediction."""
        order_N = np.argsort(-self.lengths_N, kind="stable")
        for start in range(0, len(order_N), rows):
            yield order_N[start : start + rows]

    def beside(self, other: Rows) -> Rows:
        """These rows, then those of `other`; nothing is copied."""
        import pyarrow as pa

        return Rows(pa.concat_tables([self.table, other.table]))

    def only(self, keep_N: np.ndarray) -> Rows:
        """The rows where `keep_N` is true, in their order; copied."""
        return Rows(self.table.take(np.flatnonzero(keep_N)).combine_chunks())


class Prepared(Rows):
    """A prepared split: `<folder>/rows.arrow`, opened without reading it."""

    def __init__(self, folder: Path):
        import pyarrow as pa

        self.folder = folder
        self.meta = read_json(folder / "manifest.json")
        super().__init__(pa.ipc.open_file(pa.memory_map(str(folder / "rows.arrow"))).read_all())


@lru_cache(maxsize=16)
def opened(folder: Path) -> Prepared:
    """The prepared rows in `folder`, opened once in this process."""
    return Prepared(folder)


def rows_in(folder: Path) -> int:
    """Rows of a prepared split that can be trained on, without opening it."""
    return int(read_json(folder / "manifest.json")["trainable"])


def tokens_in(*folders: Path) -> np.ndarray | None:
    """The token ids that prepared rows in any of the folders hold, rising; None where they are no tokens."""
    if not all(read_json(folder / "manifest.json")["tokens"] for folder in folders):
        return None
    return np.unique(np.concatenate([np.load(folder / TOKENS) for folder in folders]))


def content_of(files: list[Path], model: Any) -> list[str]:
    """What stands for the content of `files` and of what turns them into inputs of `model` (a ModelSource)."""
    folder = Path(model.folder)
    own = sorted({p for pattern in (*TOKENIZERS, *PROCESSORS) for p in folder.glob(pattern)}) if folder.is_dir() else []
    return [content_fingerprint(files), content_fingerprint(own) if own else f"{model.folder}@{model.revision}"]


def place_of(folder: Path, function: Tokenise, identity: Any) -> Path:
    """Where in `folder` the prepared rows are."""
    what = {"version": VERSION, "task": function.task.identity(), "labels": list(function.labels), "of": identity}
    return folder / fingerprint(what | ({"keep": list(function.keep)} if function.keep else {}))


def prepare(folder: Path, files: list[Path], function: Tokenise, *, identity: Any, map_pieces: Any) -> Path:
    """Tokenise parquet `files` into `folder/<fingerprint>` unless it is there; returns that folder.

    `identity` stands for the content of the files and of the tokenizer; `map_pieces(pieces, function)` gives one table
    per piece, in order.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    place = place_of(folder, function, identity)
    if read_json(place / "manifest.json") is not None:
        return place
    place.mkdir(parents=True, exist_ok=True)
    pieces = [{"file": str(f)} for f in files]
    rows = tokens = trainable = 0
    seen_V = np.zeros(0, bool)
    writer = None
    temporary = place / "rows.arrow.tmp"
    for table in map_pieces(pieces, function):
        writer = writer or pa.ipc.new_file(str(temporary), table.schema)
        writer.write_table(table)
        rows += table.num_rows
        trainable += int((table.column(UNITS).to_numpy() > 0).sum())
        if "input_ids" in table.column_names:
            ids_T = pc.list_flatten(table.column("input_ids")).to_numpy()
            tokens += len(ids_T)
            seen_V = np.pad(seen_V, (0, max(0, int(ids_T.max(initial=-1)) + 1 - len(seen_V))))
            seen_V[ids_T] = True
    assert writer is not None
    writer.close()
    temporary.rename(place / "rows.arrow")
    if len(seen_V):
        np.save(place / TOKENS, np.flatnonzero(seen_V))
    write_json(place / "manifest.json", {"rows": rows, "trainable": trainable, "tokens": tokens, "labels": list(function.labels)})
    return place


def packed(folder: Path, capacity: int, *, shifted: bool) -> Path:
    """The prepared rows in `folder`, several in each sequence of `capacity` tokens (engine/packing), made once; the folder of these.

    `shifted` says whether a label is told from the tokens before it.
    """
    from heliostat.engine.packing import pack

    place = folder.with_name(f"{folder.name}-packed-{capacity}")
    if read_json(place / "manifest.json") is None:
        made = pack(opened(folder).table, capacity, place / "rows.arrow", shifted=shifted)
        tokens = int(opened(folder).lengths_N.sum())
        shutil.copyfile(folder / TOKENS, place / TOKENS)
        write_json(place / "manifest.json", {"rows": made.num_rows, "trainable": made.num_rows, "tokens": tokens, "labels": []})
    return place


@dataclass(frozen=True)
class Tokenise:
    """Turns one parquet file into model inputs; runs where Ray Data puts it."""

    model_folder: str
    task: Any
    labels: tuple[str, ...]
    keep: tuple[str, ...] = ()
    """Slice columns that stay with the rows."""
    revision: str = "main"
    """Of a model on the hub."""

    def __call__(self, piece: dict[str, Any]) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(piece["file"])
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
        encoded = self.task.tokenise(columns, processor(self.task, self.model_folder, self.revision), list(self.labels))
        units = pa.array(encoded.pop(UNITS, [1.0] * len(next(iter(encoded.values())))), pa.float32())
        fixed = {"id": columns["id"], "weight": pa.array(columns["weight"], pa.float32())}
        fixed |= {KEPT + name: table.column(name) for name in self.keep if name in columns}  # null in a whole file is of its type too
        rows = pa.table({**fixed, TARGET: self.task.targets(columns, list(self.labels))})
        if PIECE in encoded:
            encoded[PIECE] = pa.array(encoded[PIECE], pa.int32())
            rows = rows.take(np.cumsum(encoded[PIECE].to_numpy() == 0) - 1)
        return pa.table({**dict(zip(rows.column_names, rows.columns, strict=True)), UNITS: units, **wide(encoded)})


def wide(columns: dict[str, list[Any]]) -> dict[str, Any]:
    """Columns of bytes with 64-bit offsets: pictures of a whole split are more than 2 GB."""
    import pyarrow as pa

    kinds = {name: isinstance(next(iter(values), None), bytes) for name, values in columns.items()}
    return {name: pa.array(values, pa.large_binary()) if kinds[name] else values for name, values in columns.items()}


def processor(task: Any, folder: str, revision: str = "main") -> Any:
    """What turns raw input into model inputs, opened once in this process; `UserError` when a model has none."""
    kind: Any = type(task)
    return _processor(kind, folder, revision, tuple((name, getattr(task, name)) for name in kind.processor_reads))


@lru_cache(maxsize=8)
def _processor(kind: Any, folder: str, revision: str, options: tuple[tuple[str, Any], ...]) -> Any:
    from transformers.utils import logging

    from heliostat.core.errors import UserError

    logging.set_verbosity_error()
    try:
        return kind(**dict(options)).processor(folder, revision)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise UserError(f"model.path: nothing that turns {kind.reads} into model inputs can be opened in '{folder}': {said}") from None


def steps_per_epoch(rows: int, batch: int) -> int:
    """Updates that see every row once; the last one may be smaller."""
    return -(-rows // batch)


@dataclass(frozen=True)
class Micro:
    """One worker's share of a forward pass: row indices, and a weight that is 0 for a row that only fills up."""

    rows: np.ndarray
    filler: bool = False


class Batches:
    """The global batches of a training, and one worker's share of each; `index_N` are the rows it trains on."""

    def __init__(self, index_N: np.ndarray, batch: int, accumulation: int = 1, seed: int = 0, rank: int = 0, world: int = 1):
        self.index_N, self.rows, self.batch, self.accumulation = index_N, len(index_N), batch, accumulation
        self.seed, self.rank, self.world = seed, rank, world
        self._permuted: Callable[[int], np.ndarray] = lambda epoch: seeds.rng(seed, "order", epoch).permutation(self.rows)
        self._epoch: tuple[int, np.ndarray] | None = None

    def along(self, permuted: Callable[[int], np.ndarray] | None) -> Batches:
        """The same batches with the rows of an epoch as `permuted(epoch)` says; None leaves them in random order."""
        self._permuted = permuted or self._permuted
        return self

    def order(self, epoch: int) -> np.ndarray:
        """Row indices of an epoch, in training order: a pure function of (seed, epoch, rows), random or as it was told."""
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self.index_N[self._permuted(epoch)])
        return self._epoch[1]

    def steps(self, epochs: float) -> int:
        """Updates of `epochs` passes over the rows, at least one."""
        return max(1, round(epochs * steps_per_epoch(self.rows, self.batch)))

    def progress(self, step: int) -> float:
        """Epochs that are done before update `step`."""
        return step / steps_per_epoch(self.rows, self.batch)

    def epoch(self, step: int) -> int:
        """The epoch that update `step` belongs to."""
        return step // steps_per_epoch(self.rows, self.batch)

    def whole(self, step: int) -> np.ndarray:
        """Row indices of the global batch of update `step`."""
        epoch, place = divmod(step, steps_per_epoch(self.rows, self.batch))
        return self.order(epoch)[place * self.batch : (place + 1) * self.batch]

    def share(self, step: int) -> list[Micro]:
        """This worker's forward passes of update `step`; every worker has the same number of them."""
        whole = self.whole(step)
        parts = np.array_split(whole[self.rank :: self.world], self.accumulation)
        return [Micro(part) if len(part) else Micro(whole[:1], filler=True) for part in parts]
