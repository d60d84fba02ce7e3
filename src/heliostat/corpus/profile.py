"""Reference statistics of a corpus: what later data is compared with."""

from __future__ import annotations

from collections import Counter
from typing import Any

from heliostat.corpus.config import NearDuplicates
from heliostat.corpus.labels import in_natural_order

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def profile(
    tables: dict[str, Any], read: int, dropped: dict[str, int], near: NearDuplicates | None, near_pairs: list[dict[str, Any]]
) -> dict[str, Any]:
    """Rows, classes, sources and text lengths (characters) of every split; what was dropped; near-duplicates, how they were found and
    some to look at."""
    return {
        "read": read,
        "rows": sum(table.num_rows for table in tables.values()),
        "dropped": dict(sorted(dropped.items())),
        "splits": {name: _of_split(table) for name, table in tables.items()},
        "near_duplicates": None if near is None else near.dump(),
        "near_duplicate_pairs": near_pairs,
    }


def _of_split(table: Any) -> dict[str, Any]:
    import numpy as np
    import pyarrow.compute as pc

    classes = Counter(table.column("label").to_pylist())
    lengths = pc.utf8_length(table.column("text")).to_numpy()
    return {
        "rows": table.num_rows,
        "classes": {name: classes[name] for name in in_natural_order(classes) if name},
        "sources": dict(sorted(Counter(table.column("source").to_pylist()).items())),
        "characters": {f"{q:g}": float(value) for q, value in zip(QUANTILES, np.quantile(lengths, QUANTILES), strict=True)},
    }
