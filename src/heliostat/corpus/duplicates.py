"""Exact duplicates, contradictions and near-duplicates, found from hashes and signatures alone.

Same text (but for case and white space) and same label: the first stays. Same text with different labels: nobody knows
which is right, so all of them go. Near-duplicates are joined into clusters (A near B and B near C makes one cluster).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

EXACT, CONFLICT, NEAR = "exact_duplicate", "conflicting_labels", "near_duplicate"
NEIGHBOURS = 20
"""Rows of one bucket are compared with this many before them, so that a bucket of any size costs linear time."""
CHUNK_PAIRS = 100_000


@dataclass(frozen=True)
class Pair:
    """Two near-duplicates by row number, and their estimated Jaccard similarity."""

    first: int
    second: int
    similarity: float


def exact(keys: Sequence[str], labels: Sequence[str]) -> list[str | None]:
    """The reason why each row is dropped, or None; rows are in reading order."""
    first: dict[str, int] = {}
    contradicted: set[str] = set()
    for i, key in enumerate(keys):
        if labels[first.setdefault(key, i)] != labels[i]:
            contradicted.add(key)
    return [CONFLICT if key in contradicted else EXACT if first[key] != i else None for i, key in enumerate(keys)]


def near(signatures_NP: np.ndarray, threshold: float) -> list[Pair]:
    """Pairs of rows whose MinHash signatures agree in at least `threshold` of their places, in row order.

    Candidates share one band of locality-sensitive hashing (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.4).
    """
    count, length = signatures_NP.shape
    if count < 2:
        return []
    bands, rows = banding(length, threshold)
    found = {pair for band in range(bands) for pair in _bucket_pairs(signatures_NP[:, band * rows : (band + 1) * rows])}
    candidates = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
    pairs: list[Pair] = []
    for start in range(0, len(candidates), CHUNK_PAIRS):
        a, b = candidates[start : start + CHUNK_PAIRS].T
        similarity = (signatures_NP[a] == signatures_NP[b]).mean(axis=1)
        for i in np.flatnonzero(similarity >= threshold):
            pairs.append(Pair(int(a[i]), int(b[i]), round(float(similarity[i]), 4)))
    return pairs


def clusters(count: int, links: Sequence[tuple[int, int]]) -> np.ndarray:
    """For each of `count` rows the lowest row number it is linked to, directly or through others [count]."""
    root = np.arange(count)

    def top(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = int(root[i])
        return i

    for a, b in links:
        x, y = top(a), top(b)
        root[max(x, y)] = min(x, y)
    return np.array([top(i) for i in range(count)], dtype=np.int64)


def banding(length: int, threshold: float) -> tuple[int, int]:
    """(bands, rows per band) that misses at most 1 % of the pairs at the threshold, with the fewest candidates."""
    for rows in range(length, 1, -1):
        bands = length // rows
        if (1 - threshold**rows) ** bands <= 0.01:
            return bands, rows
    return length, 1


def _bucket_pairs(band_NR: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of rows that agree in the whole band, each row with up to `NEIGHBOURS` before it."""
    packed: Any = np.ascontiguousarray(band_NR).view(np.dtype((np.void, band_NR.shape[1] * band_NR.itemsize))).ravel()
    _, bucket_N = np.unique(packed, return_inverse=True)
    order_N = np.argsort(bucket_N, kind="stable")
    sorted_N = bucket_N[order_N]
    pairs: set[tuple[int, int]] = set()
    for lag in range(1, NEIGHBOURS + 1):
        same = np.flatnonzero(sorted_N[lag:] == sorted_N[:-lag])
        if not len(same):
            break
        pairs.update(zip(order_N[same].tolist(), order_N[same + lag].tolist(), strict=True))
    return pairs
