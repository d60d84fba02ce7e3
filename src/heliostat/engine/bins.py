"""Best-fit-decreasing bin packing (Johnson et al., 1974), exact and fast: which document goes into which row of `capacity` tokens.

Documents of one length are placed together, and bins with the same space left are one bucket, so the work grows with
the number of different lengths and not with the number of documents.
"""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np


def best_fit_decreasing(lengths_N: np.ndarray, capacity: int) -> np.ndarray:
    """The bin [N] of each document: longest first, each into the fullest bin that still holds it.

    `lengths_N` is 1 .. `capacity`; bins are numbered from 0 without a gap. Equal lengths give equal bins everywhere.
    """
    lengths_N = np.asarray(lengths_N)
    assert not len(lengths_N) or (lengths_N.min() >= 1 and lengths_N.max() <= capacity), "a document is empty or longer than a bin"
    order_N = np.argsort(-lengths_N, kind="stable")
    bin_N = np.empty(len(lengths_N), dtype=np.int64)
    buckets: dict[int, list[int]] = {}  # space left -> bins that have it
    spaces: list[int] = []  # the keys of `buckets`, rising
    bins = placed = 0
    sizes, counts = np.unique(lengths_N, return_counts=True)
    for size, count in zip(sizes[::-1].tolist(), counts[::-1].tolist(), strict=True):
        until = placed + count
        while placed < until:
            at = bisect_left(spaces, size)
            if at == len(spaces):
                new = -(-(until - placed) // (capacity // size))
                buckets[capacity] = list(range(bins + new - 1, bins - 1, -1))
                spaces.append(capacity)
                bins += new
            space = spaces[at]
            bucket = buckets[space]
            each = min(space // size, until - placed)  # a bin that takes one is the best fit again, until no more fits
            some = min(len(bucket), (until - placed) // each)
            taken = bucket[: -some - 1 : -1]
            del bucket[-some:]
            if not bucket:
                del spaces[at], buckets[space]
            bin_N[order_N[placed : placed + some * each]] = np.repeat(taken, each)
            placed += some * each
            _keep(buckets, spaces, space - each * size, taken)
    return bin_N


def _keep(buckets: dict[int, list[int]], spaces: list[int], space: int, bins: list[int]) -> None:
    """`bins` have `space` left now; a full bin is never looked at again."""
    if space == 0:
        return
    if space not in buckets:
        buckets[space] = []
        insort(spaces, space)
    buckets[space].extend(bins)


def fewest_bins(lengths_N: np.ndarray, capacity: int) -> int:
    """No packing needs fewer bins than this."""
    return -(-int(np.sum(lengths_N, dtype=np.int64)) // capacity)
