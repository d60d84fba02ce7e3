"""Reference statistics of a corpus: what later data is compared with."""

from __future__ import annotations

from collections import Counter
from typing import Any

from heliostat.corpus.blobs import SIZE
from heliostat.corpus.config import NearDuplicates
from heliostat.corpus.labels import in_natural_order

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def profile(
    tables: dict[str, Any], read: int, dropped: dict[str, int], near: NearDuplicates | None, near_pairs: list[dict[str, Any]], *, by: str
) -> dict[str, Any]:
    """Rows, classes, sources and lengths (characters of texts, bytes of files) of every split; what was dropped; near-duplicates, how they
    were found and some to look at. Classes are the values (or the members, for lists) of the column `by`; where targets are numbers, what
    they are like is there instead."""
    return {
        "read": read,
        "rows": sum(table.num_rows for table in tables.values()),
        "dropped": dict(sorted(dropped.items())),
        "splits": {name: _of_split(table, by) for name, table in tables.items()},
        "near_duplicates": None if near is None else near.dump(),
        "near_duplicate_pairs": near_pairs,
    }


def _of_split(table: Any, by: str) -> dict[str, Any]:
    import numpy as np
    import pyarrow as pa

    column = table.column(by)
    classes = Counter((column.combine_chunks().flatten() if pa.types.is_list(column.type) else column).to_pylist())
    has_numbers = "target" in table.column_names and pa.types.is_floating(table.schema.field("target").type)
    numbers = table.column("target").to_numpy() if has_numbers else np.empty(0)
    return {
        "rows": table.num_rows,
        "classes": {name: classes[name] for name in in_natural_order(classes) if name},
        "sources": dict(sorted(Counter(table.column("source").to_pylist()).items())),
        **({"target": {"mean": float(numbers.mean()), "std": float(numbers.std()), **_quantiles(numbers)}} if len(numbers) else {}),
        **_lengths(table),
    }


def _lengths(table: Any) -> dict[str, dict[str, float]]:
    """Quantiles of the characters of texts, or of the bytes of pictures and recordings, which have no text."""
    import pyarrow.compute as pc

    is_media = SIZE in table.column_names
    lengths_N = table.column(SIZE).to_numpy() if is_media else pc.utf8_length(table.column("text")).to_numpy()
    return {"bytes" if is_media else "characters": _quantiles(lengths_N)}


def _quantiles(values: Any) -> dict[str, float]:
    import numpy as np

    return {f"{q:g}": float(value) for q, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)}
