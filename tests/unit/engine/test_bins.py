"""Best fit decreasing, exactly, however many documents are placed at once."""

import numpy as np
import pytest

from heliostat.core import seeds
from heliostat.engine.bins import best_fit_decreasing, fewest_bins


def one_by_one(lengths, capacity):
    """The space left in each bin by the textbook's algorithm."""
    spaces = []
    for length in sorted(lengths, reverse=True):
        fitting = [space for space in spaces if space >= length]
        if fitting:
            spaces.remove(min(fitting))
        spaces.append((min(fitting) if fitting else capacity) - length)
    return sorted(spaces)


def left(lengths_N, bin_N, capacity):
    """The space left in each bin."""
    return sorted((capacity - np.bincount(bin_N, weights=lengths_N)).astype(int).tolist())


@pytest.mark.parametrize("case", range(60))
def test_it_is_best_fit_decreasing(case):
    rng = seeds.rng(case, "test", "bins")
    capacity = int(rng.integers(1, 60))
    lengths_N = rng.integers(1, capacity + 1, int(rng.integers(1, 200)))
    bin_N = best_fit_decreasing(lengths_N, capacity)
    assert sorted(set(bin_N.tolist())) == list(range(bin_N.max() + 1))
    assert left(lengths_N, bin_N, capacity) == one_by_one(lengths_N.tolist(), capacity)


@pytest.mark.parametrize(("lengths", "capacity", "bins"), [
    ([], 8, 0),
    ([8], 8, 1),
    ([5, 4, 4, 3], 8, 2),
    ([1] * 17, 8, 3),
    ([3] * 5, 8, 3),
    ([8, 8, 8], 8, 3),
])  # fmt: skip
def test_small_cases(lengths, capacity, bins):
    bin_N = best_fit_decreasing(np.array(lengths, dtype=np.int64), capacity)
    assert len(set(bin_N.tolist())) == bins
    assert bins >= fewest_bins(np.array(lengths), capacity)


@pytest.mark.parametrize("capacity", [512, 8192])
def test_many_documents_leave_almost_no_space(capacity):
    lengths_N = np.clip(seeds.rng(1, "test", "bins").lognormal(5, 1, 200_000), 1, capacity).astype(int)
    bin_N = best_fit_decreasing(lengths_N, capacity)
    assert np.bincount(bin_N, weights=lengths_N).max() <= capacity
    assert bin_N.max() + 1 <= 1.001 * fewest_bins(lengths_N, capacity)


def test_the_same_lengths_give_the_same_bins():
    lengths_N = seeds.rng(2, "test", "bins").integers(1, 100, 5000)
    assert np.array_equal(best_fit_decreasing(lengths_N, 128), best_fit_decreasing(lengths_N.copy(), 128))


@pytest.mark.parametrize("wrong", [0, 9])
def test_a_document_that_has_no_place_is_refused(wrong):
    with pytest.raises(AssertionError, match="empty or longer"):
        best_fit_decreasing(np.array([3, wrong]), 8)
