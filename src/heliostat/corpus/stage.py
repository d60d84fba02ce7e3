"""The corpus stage: sources to clean, split rows.

Pieces of the sources are read and filtered in parallel; the driver then compares hashes and signatures of all rows,
deals the rows to splits and writes them. A variant (`held_out` is the run's own corpus) has the valid and test rows of that
corpus, and all that is left is for training. Rows of a split are ordered by their id, so that the files are the same
however the data was cut into files. The driver holds the cleaned rows in memory (Arrow, about their size on disk
uncompressed plus 4 x permutations bytes each), but for the bytes of pictures and recordings (`blobs`): of these it holds what is
said about them, about 500 bytes a row.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from heliostat.artifacts import Corpus
from heliostat.core.errors import UserError
from heliostat.core.manifest import sync, write_json
from heliostat.core.values import column_of_bytes
from heliostat.core.workspace import Context
from heliostat.corpus import blobs, duplicates, holding, stratification
from heliostat.corpus.config import CorpusConfig, NearDuplicates
from heliostat.corpus.holding import Held
from heliostat.corpus.labels import in_natural_order
from heliostat.corpus.profile import profile
from heliostat.corpus.quarantine import Quarantine, refuse
from heliostat.corpus.reading import MALFORMED, SLICE, ReadPiece, pieces
from heliostat.corpus.shingles import digest, whole
from heliostat.corpus.split import SPLITS, split


def build(config: CorpusConfig, *, ctx: Context, task: Any, held_out: Corpus | None = None, apart_from: Corpus | None = None) -> Corpus:
    """Read, clean, split and write the team's data; every dropped row is in `quarantine.jsonl` with its reason.

    With `held_out` the valid and test rows and the labels are those of that corpus, and every other good row that is like none of
    them is in train. What was read is then train + dropped: valid and test rows as they are read here count as `held_out`.
    With `apart_from` no row is like a valid or test row of that corpus, which may be of another task; the split is its own.

    Raises `UserError` when too many rows are malformed, a file is damaged, or too little is left to train on. Then the
    quarantine stays to be read, and the next attempt may have mended data or other settings.
    """
    try:
        held = holding.held(held_out, task) if held_out else None
        return _build(config, ctx, task, held, held or (holding.texts_of(apart_from) if apart_from else None))
    except UserError:
        ctx.forget()
        raise
    finally:
        blobs.forget(ctx.folder)


def _build(config: CorpusConfig, ctx: Context, task: Any, held: Held | None, unlike: Held | None) -> Corpus:
    near = config.nearness(task)
    for name in SPLITS:
        shutil.rmtree(ctx.folder / name, ignore_errors=True)
    with Quarantine(ctx.folder / "quarantine.jsonl") as quarantine:
        measures = unlike.measures(near) if unlike else {}
        rows, read, malformed = _read(ctx, ReadPiece(config, task, measures.get("beside"), ctx.folder), quarantine)
        if rows is not None and unlike:
            rows = _without(rows, unlike.reasons(rows, measures), quarantine)
        if rows is not None:
            rows, every, near_pairs = _without_duplicates(rows, near, quarantine)
    refuse(quarantine, read, malformed, config.max_bad_share)
    labels = names_in(rows, task) if rows is not None else []
    if rows is None or rows.num_rows == 0 or len(labels) < (task.least_names if task.names_from else 0):
        raise _too_little(ctx.name, labels, read, quarantine)
    rows = _in_order(rows, task)
    parts = {"train": rows} if held else _split(rows, config, task.stratified_by, ctx.seed)
    tables = {name: _table(part, config, task) for name, part in parts.items()}
    for name, table in tables.items():
        _write(ctx, name, table, config.rows_per_shard, column_of_bytes(task.columns()))
    if held:
        tables |= held.give(ctx.folder)
    else:
        holding.write_positions(ctx.folder, parts, every)
    write_json(ctx.folder / holding.PROFILE, profile(tables, read, dict(quarantine.reasons), near, near_pairs, by=task.stratified_by))
    return Corpus(
        fingerprint=ctx.fingerprint,
        path=ctx.folder,
        labels=held.corpus.labels if held else tuple(labels),
        rows={name: table.num_rows for name, table in tables.items()},
        dropped=dict(sorted(quarantine.reasons.items())),
        read=read,
    )


def names_in(rows: Any, task: Any) -> list[str]:
    """The names a model is to answer with, in the order of its outputs; empty when it answers with none."""
    import pyarrow as pa

    if task.names_from is None:
        return []
    column = rows.column(task.names_from)
    found = column.combine_chunks().flatten() if pa.types.is_list(column.type) else column
    return task.ordered(in_natural_order(set(found.to_pylist())))


def _read(ctx: Context, function: ReadPiece, quarantine: Quarantine) -> tuple[Any, int, int]:
    """(good rows in reading order or None, rows read, malformed rows)."""
    import pyarrow as pa

    work = pieces(function.config)
    kept: list[Any] = []
    read = malformed = 0
    for done, table in enumerate(ctx.engine.map_pieces(work, function), 1):
        read += table.num_rows
        reasons = table.column("reason")
        malformed += table.column("fault").to_pylist().count(MALFORMED)
        quarantine.add_bad(table.filter(reasons.is_valid()))
        kept.append(table.filter(reasons.is_null()).drop_columns(["reason", "fault", "excerpt"]))
        ctx.show.update(ctx.name, done, len(work), "pieces", f"{read:,} rows")
    return (pa.concat_tables(kept) if kept else None), read, malformed


def _without(rows: Any, reasons: list[str | None], quarantine: Quarantine) -> Any:
    """The rows that have no reason to be dropped; the others go to the quarantine."""
    import pyarrow as pa

    quarantine.add_dropped(rows, reasons)
    return rows.filter(pa.array([reason is None for reason in reasons], pa.bool_()))


def _without_duplicates(rows: Any, near: NearDuplicates | None, quarantine: Quarantine) -> tuple[Any, Any, list[dict[str, Any]]]:
    """(rows that stay, with a column `unit` for those that may not be parted; places and units of all rows; a sample of
    near-duplicates)."""
    import pyarrow as pa

    every = rows.select(["number", "line", "key"])
    rows = _without(rows, duplicates.exact(rows.column("key").to_pylist(), rows.column("answer").to_pylist()), quarantine)
    pairs: list[duplicates.Pair] = []
    cluster_N = np.arange(rows.num_rows)
    if near:
        signatures_NP = duplicates.unpacked(rows.column("signature"), near.permutations)
        pairs = duplicates.near(signatures_NP, near.threshold)
        cluster_N = duplicates.clusters(rows.num_rows, [(p.first, p.second) for p in pairs])
    sample = _sample(rows, pairs)
    unit_of = dict(zip(rows.column("key").to_pylist(), cluster_N.tolist(), strict=True))
    every = every.append_column("unit", pa.array([unit_of.get(key) for key in every.column("key").to_pylist()], pa.int64()))
    rows = rows.append_column("unit", pa.array(cluster_N)).drop_columns(["signature", "key"])
    if near and near.action == "drop":
        later = cluster_N != np.arange(rows.num_rows)
        rows = _without(rows, [duplicates.NEAR if dropped else None for dropped in later], quarantine)
    return rows, every, sample


def _sample(rows: Any, pairs: Sequence[duplicates.Pair], count: int = 20) -> list[dict[str, Any]]:
    """The `count` least similar pairs, where a threshold can be judged."""
    chosen = sorted(pairs, key=lambda p: (p.similarity, p.first, p.second))[:count]
    text = rows.column("text")
    return [{"similarity": p.similarity, "first": text[p.first].as_py()[:200], "second": text[p.second].as_py()[:200]} for p in chosen]


def _in_order(rows: Any, task: Any) -> Any:
    """The rows with their `id`, ordered by it."""
    import pyarrow as pa

    if blobs.CONTENT in rows.column_names:
        contents = rows.column(blobs.CONTENT).to_pylist()
    else:
        wanted = rows.select(list(dict.fromkeys(["text", *task.columns()])))
        contents = [whole(task.content(row)) for batch in wanted.to_batches(1000) for row in batch.to_pylist()]
    ids = [digest(content, answer) for content, answer in zip(contents, rows.column("answer").to_pylist(), strict=True)]
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    return rows.append_column("id", pa.array(ids, pa.string())).take(order)


def _split(rows: Any, config: CorpusConfig, by: str, seed: int) -> dict[str, Any]:
    """The rows of every split, in their order; `by` is the column whose values (or members, for a list) are shared out."""
    import pyarrow as pa

    strata = rows.column(by)
    deal: Any = stratification.split if pa.types.is_list(strata.type) else split
    place_N = deal(rows.column("id").to_pylist(), strata.to_pylist(), _units(rows), config.split, seed)
    return {name: rows.take(np.flatnonzero(place_N == i)) for i, name in enumerate(SPLITS)}


def _table(rows: Any, config: CorpusConfig, task: Any) -> Any:
    """The final columns; places of bytes stand for the bytes."""
    import pyarrow as pa

    names = dict.fromkeys(["id", "text", "label", *task.columns(), "source", *(blobs.fields() if column_of_bytes(task.columns()) else ())])
    return pa.table(
        {
            **{name: rows.column(name) for name in names if name in rows.column_names},
            "domain": pa.array(["domain"] * rows.num_rows, pa.string()),
            "weight": pa.array(np.ones(rows.num_rows, dtype=np.float32)),
            **{name: rows.column(SLICE + name) for name in config.slices},
        }
    )


def _units(rows: Any) -> list[int]:
    """Numbers of the units: near-duplicates and members of a group together; a row without a group stands alone."""
    first: dict[Any, int] = {}
    links = []
    for kind in ("unit", "group"):
        for i, value in enumerate(rows.column(kind).to_pylist()):
            if value is not None:
                links.append((first.setdefault((kind, value), i), i))
    return duplicates.clusters(rows.num_rows, links).tolist()


def _write(ctx: Context, name: str, table: Any, rows_per_shard: int, column: str | None) -> None:
    """Numbered parquet files; each is whole or absent."""
    import pyarrow.parquet as pq

    folder = ctx.folder / name
    folder.mkdir(parents=True)
    spans = [(start, start + rows_per_shard) for start in range(0, table.num_rows, rows_per_shard)]
    if column:
        order = [*(each for each in table.column_names if each not in blobs.fields()), column]
        spans = list(blobs.shards(table.column(blobs.SIZE).to_numpy(), rows_per_shard))
    for number, (start, stop) in enumerate(spans):
        path = folder / f"part-{number:05d}.parquet"
        temporary = path.with_suffix(".tmp")
        shard = table.slice(start, stop - start)
        pq.write_table(blobs.with_bytes(shard, column, order, ctx.folder) if column else shard, temporary, compression="zstd")
        temporary.rename(path)
    sync(folder)


def _too_little(name: str, labels: list[str], read: int, quarantine: Quarantine) -> UserError:
    counts = ", ".join(f"{count:,} {reason}" for reason, count in Counter(quarantine.reasons).most_common()) or "none"
    found = f"all have the class '{labels[0]}'; at least two classes are needed" if len(labels) == 1 else "none is left"
    return UserError(
        f"{name}: of {read:,} rows read, after cleaning {found}. Dropped: {counts}. Every dropped row is in '{quarantine.path}'."
    )
