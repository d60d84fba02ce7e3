"""k folds over the train and valid rows: every row is held out once, every class is dealt evenly, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from heliostat.core.seeds import derive


def folds(ids: Iterable[str], labels_N: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The fold [rows] of each row, 0 .. count-1: a pure function of (seed, row id), stratified by label."""
    mark_N = np.array([derive(seed, "fold", row) for row in ids], dtype=np.uint64)
    order_N = np.lexsort((mark_N, labels_N))
    out_N = np.empty(len(mark_N), dtype=np.int64)
    out_N[order_N] = np.arange(len(mark_N)) % count
    return out_N
