"""Exact duplicates, contradictions and near-duplicates, found from hashes and signatures alone.

Same text (but for case and white space) and same label: the first stays. Same text with different labels: nobody knows
which is right, so all of them go. Near-duplicates are joined into clusters (A near B and B near C makes one cluster).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

EXACT, CONFLICT, NEAR = "exact_duplicate", "conflicting_labels", "near_duplicate"
NEIGHBOURS = 20
"""Rows of one bucket are compared with this many before them, so that a bucket of any size costs linear time."""
CHUNK_PAIRS = 100_000
MISSED, MISSED_HELD_OUT = 0.01, 1e-4
"""Shares of the pairs at the threshold that may be missed: among rows, and between rows and what they must not be like."""


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


def like_one_of(held_MP: np.ndarray, signatures_NP: np.ndarray, threshold: float) -> np.ndarray:
    """Whether each signature agrees with one of `held_MP` in at least `threshold` of its places [N].

    Rows of one bucket are all compared with what is held in it, for one that is missed would be trained on and judged by.
    """
    found_N = np.zeros(len(signatures_NP), dtype=bool)
    held_MP = np.unique(held_MP, axis=0)
    bands, rows = banding(signatures_NP.shape[1], threshold, MISSED_HELD_OUT)
    for band in range(bands):
        part = slice(band * rows, (band + 1) * rows)
        open_K = np.flatnonzero(~found_N)
        for i, j in _meetings(held_MP[:, part], signatures_NP[open_K, part]):
            near = (held_MP[i] == signatures_NP[open_K[j]]).mean(axis=1) >= threshold
            found_N[open_K[j[near]]] = True
    return found_N


def unpacked(column: Any, permutations: int) -> np.ndarray:
    """A column of signatures as uint32 [rows, permutations]."""
    return np.frombuffer(b"".join(column.to_pylist()), dtype=np.uint32).reshape(-1, permutations)


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


def banding(length: int, threshold: float, missed: float = MISSED) -> tuple[int, int]:
    """(bands, rows per band) that misses at most the share `missed` of the pairs at the threshold, with the fewest candidates."""
    for rows in range(length, 1, -1):
        bands = length // rows
        if (1 - threshold**rows) ** bands <= missed:
            return bands, rows
    return length, 1


def _bucket_pairs(band_NR: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of rows that agree in the whole band, each row with up to `NEIGHBOURS` before it."""
    bucket_N = _buckets(band_NR)
    order_N = np.argsort(bucket_N, kind="stable")
    sorted_N = bucket_N[order_N]
    pairs: set[tuple[int, int]] = set()
    for lag in range(1, NEIGHBOURS + 1):
        same = np.flatnonzero(sorted_N[lag:] == sorted_N[:-lag])
        if not len(same):
            break
        pairs.update(zip(order_N[same].tolist(), order_N[same + lag].tolist(), strict=True))
    return pairs


def _meetings(held_MR: np.ndarray, band_NR: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(numbers of held rows, numbers of rows) that agree in the whole band, about `CHUNK_PAIRS` at a time."""
    bucket = _buckets(np.concatenate([held_MR, band_NR]))
    held_M, bucket_N = bucket[: len(held_MR)], bucket[len(held_MR) :]
    order_M = np.argsort(held_M, kind="stable")
    start_N, stop_N = (np.searchsorted(held_M[order_M], bucket_N, side=side) for side in ("left", "right"))
    count_N = stop_N - start_N
    hit = np.flatnonzero(count_N)
    chunk = np.cumsum(count_N[hit]) // CHUNK_PAIRS
    for some in np.split(hit, np.flatnonzero(np.diff(chunk)) + 1):
        counts = count_N[some]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        yield order_M[np.repeat(start_N[some], counts) + within], np.repeat(some, counts)


def _buckets(band_NR: np.ndarray) -> np.ndarray:
    """A number for every row, equal where the whole band is equal [N]."""
    packed: Any = np.ascontiguousarray(band_NR).view(np.dtype((np.void, band_NR.shape[1] * band_NR.itemsize))).ravel()
    return np.unique(packed, return_inverse=True)[1]
