"""The corpus stage: sources to clean, split rows.

Pieces of the sources are read and filtered in parallel; the driver then compares hashes and signatures of all rows,
deals the rows to splits and writes them. Rows of a split are ordered by their id, so that the files are the same
however the data was cut into files. The driver holds the cleaned rows in memory (Arrow, about their size on disk
uncompressed plus 4 x permutations bytes each).
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
from heliostat.core.workspace import Context
from heliostat.corpus import duplicates
from heliostat.corpus.config import CorpusConfig
from heliostat.corpus.labels import in_natural_order
from heliostat.corpus.profile import profile
from heliostat.corpus.quarantine import Quarantine, refuse
from heliostat.corpus.reading import MALFORMED, SLICE, ReadPiece, pieces
from heliostat.corpus.shingles import digest
from heliostat.corpus.split import SPLITS, split


def build(config: CorpusConfig, *, ctx: Context, task: Any) -> Corpus:
    """Read, clean, split and write the team's data; every dropped row is in `quarantine.jsonl` with its reason.

    Raises `UserError` when too many rows are malformed, a file is damaged, or too little is left to train on. Then the
    quarantine stays to be read, and the next attempt may have mended data or other settings.
    """
    try:
        return _build(config, ctx)
    except UserError:
        ctx.forget()
        raise


def _build(config: CorpusConfig, ctx: Context) -> Corpus:
    for name in SPLITS:
        shutil.rmtree(ctx.folder / name, ignore_errors=True)
    with Quarantine(ctx.folder / "quarantine.jsonl") as quarantine:
        rows, read, malformed = _read(config, ctx, quarantine)
        if rows is not None:
            rows, near_pairs = _without_duplicates(rows, config, quarantine)
    refuse(quarantine, read, malformed, config.max_bad_share)
    labels = in_natural_order(set(rows.column("label").to_pylist())) if rows is not None else []
    if len(labels) < 2:
        raise _too_little(labels, read, quarantine)
    tables = _split(rows, config, ctx.seed)
    for name, table in tables.items():
        _write(ctx, name, table, config.rows_per_shard)
    write_json(ctx.folder / "profile.json", profile(tables, read, dict(quarantine.reasons), near_pairs))
    return Corpus(
        fingerprint=ctx.fingerprint,
        path=ctx.folder,
        labels=tuple(labels),
        rows={name: table.num_rows for name, table in tables.items()},
        dropped=dict(sorted(quarantine.reasons.items())),
        read=read,
    )


def _read(config: CorpusConfig, ctx: Context, quarantine: Quarantine) -> tuple[Any, int, int]:
    """(good rows in reading order or None, rows read, malformed rows)."""
    import pyarrow as pa

    work = pieces(config)
    kept: list[Any] = []
    read = malformed = 0
    for done, table in enumerate(ctx.engine.map_pieces(work, ReadPiece(config)), 1):
        read += table.num_rows
        reasons = table.column("reason")
        malformed += table.column("fault").to_pylist().count(MALFORMED)
        quarantine.add_bad(table.filter(reasons.is_valid()))
        kept.append(table.filter(reasons.is_null()).drop_columns(["reason", "fault", "excerpt"]))
        ctx.show.update(ctx.name, done, len(work), "pieces", f"{read:,} rows")
    return (pa.concat_tables(kept) if kept else None), read, malformed


def _without_duplicates(rows: Any, config: CorpusConfig, quarantine: Quarantine) -> tuple[Any, list[dict[str, Any]]]:
    """The rows that stay, with a column `unit` for those that may not be parted, and a sample of near-duplicates."""
    import pyarrow as pa

    reasons = duplicates.exact(rows.column("key").to_pylist(), rows.column("label").to_pylist())
    quarantine.add_dropped(rows, reasons)
    rows = rows.filter(pa.array([reason is None for reason in reasons], pa.bool_()))
    pairs: list[duplicates.Pair] = []
    cluster_N = np.arange(rows.num_rows)
    if config.near_duplicates:
        pairs = duplicates.near(_signatures(rows, config.near_duplicates.permutations), config.near_duplicates.threshold)
        cluster_N = duplicates.clusters(rows.num_rows, [(p.first, p.second) for p in pairs])
    sample = _sample(rows, pairs)
    rows = rows.append_column("unit", pa.array(cluster_N)).drop_columns(["signature", "key"])
    if config.near_duplicates and config.near_duplicates.action == "drop":
        later = cluster_N != np.arange(rows.num_rows)
        quarantine.add_dropped(rows, [duplicates.NEAR if dropped else None for dropped in later])
        rows = rows.filter(pa.array(~later))
    return rows, sample


def _signatures(rows: Any, permutations: int) -> np.ndarray:
    data = b"".join(rows.column("signature").to_pylist())
    return np.frombuffer(data, dtype=np.uint32).reshape(-1, permutations)


def _sample(rows: Any, pairs: Sequence[duplicates.Pair], count: int = 20) -> list[dict[str, Any]]:
    """The `count` least similar pairs, where a threshold can be judged."""
    chosen = sorted(pairs, key=lambda p: (p.similarity, p.first, p.second))[:count]
    text = rows.column("text")
    return [{"similarity": p.similarity, "first": text[p.first].as_py()[:200], "second": text[p.second].as_py()[:200]} for p in chosen]


def _split(rows: Any, config: CorpusConfig, seed: int) -> dict[str, Any]:
    """The tables of the splits, in their final columns and order."""
    import pyarrow as pa

    texts, labels = rows.column("text").to_pylist(), rows.column("label").to_pylist()
    ids = [digest(text, label) for text, label in zip(texts, labels, strict=True)]
    place_N = split(ids, labels, _units(rows), config.split, seed)
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "text": rows.column("text"),
            "label": rows.column("label"),
            "source": rows.column("source"),
            "domain": pa.array(["domain"] * len(ids), pa.string()),
            "weight": pa.array(np.ones(len(ids), dtype=np.float32)),
            **{name: rows.column(SLICE + name) for name in config.slices},
        }
    )
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__))
    return {name: table.take(order[place_N[order] == i]) for i, name in enumerate(SPLITS)}


def _units(rows: Any) -> list[int]:
    """Numbers of the units: near-duplicates and members of a group together; a row without a group stands alone."""
    first: dict[Any, int] = {}
    links = []
    for kind in ("unit", "group"):
        for i, value in enumerate(rows.column(kind).to_pylist()):
            if value is not None:
                links.append((first.setdefault((kind, value), i), i))
    return duplicates.clusters(rows.num_rows, links).tolist()


def _write(ctx: Context, name: str, table: Any, rows_per_shard: int) -> None:
    """Numbered parquet files; each is whole or absent."""
    import pyarrow.parquet as pq

    folder = ctx.folder / name
    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, table.num_rows, rows_per_shard)):
        path = folder / f"part-{number:05d}.parquet"
        temporary = path.with_suffix(".tmp")
        pq.write_table(table.slice(start, rows_per_shard), temporary, compression="zstd")
        temporary.rename(path)
    sync(folder)


def _too_little(labels: list[str], read: int, quarantine: Quarantine) -> UserError:
    counts = ", ".join(f"{count:,} {reason}" for reason, count in Counter(quarantine.reasons).most_common()) or "none"
    found = f"all have the class '{labels[0]}'; at least two classes are needed" if labels else "none is left"
    return UserError(
        f"corpus: of {read:,} rows read, after cleaning {found}. Dropped: {counts}. Every dropped row is in '{quarantine.path}'."
    )
