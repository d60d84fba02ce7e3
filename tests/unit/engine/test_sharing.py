"""A global batch is dealt whole, evenly, and with less padding than by turns."""

import numpy as np
import pytest

from heliostat.core import seeds
from heliostat.engine.sharing import cuts, dealt

CORPUS = np.clip(seeds.rng(1, "test", "sharing").lognormal(4.6, 0.8, 5000), 4, 512).astype(int)


def batch(rows, case=0):
    return seeds.rng(case, "test", "batch").permutation(len(CORPUS))[:rows]


def by_turns(whole, world, accumulation):
    return [np.array_split(whole[rank::world], accumulation) for rank in range(world)]


def padded(parts):
    """Tokens of the forward passes [world, accumulation], padding included."""
    return np.array([[len(part) * CORPUS[part].max(initial=0) for part in worker] for worker in parts])


@pytest.mark.parametrize("rows", [1, 3, 8, 31, 128])
@pytest.mark.parametrize(("world", "accumulation"), [(1, 1), (1, 3), (2, 1), (2, 2), (4, 4), (3, 5)])
def test_every_row_is_dealt_once(rows, world, accumulation):
    whole = batch(rows)
    parts = dealt(whole, CORPUS, world, accumulation)
    assert [len(worker) for worker in parts] == [accumulation] * world
    assert sorted(int(row) for worker in parts for part in worker for row in part) == sorted(whole.tolist())
    if rows >= world * accumulation:
        assert all(len(part) for worker in parts for part in worker)


@pytest.mark.parametrize(("world", "accumulation"), [(2, 1), (2, 4), (4, 1), (4, 4)])
def test_workers_have_as_many_tokens_as_each_other(world, accumulation):
    for case in range(20):
        tokens = [sum(int(CORPUS[part].sum()) for part in worker) for worker in dealt(batch(128, case), CORPUS, world, accumulation)]
        assert max(tokens) <= 1.1 * np.mean(tokens)


@pytest.mark.parametrize(("world", "accumulation"), [(1, 4), (2, 4), (4, 2)])
def test_the_slowest_worker_has_less_to_do_than_by_turns(world, accumulation):
    """With several passes of an update, padding included; workers that wait for each other after every pass, too."""
    for case in range(20):
        ours, turns = (
            padded(deal) for deal in (dealt(batch(128, case), CORPUS, world, accumulation), by_turns(batch(128, case), world, accumulation))
        )
        assert ours.sum(axis=1).max() < 0.7 * turns.sum(axis=1).max()
        assert ours.max(axis=0).sum() < 0.7 * turns.max(axis=0).sum()
        assert ours.max() < turns.max()


def test_rows_of_one_length_are_dealt_in_equal_numbers():
    parts = dealt(np.arange(24), np.full(24, 7), 3, 2)
    assert [[len(part) for part in worker] for worker in parts] == [[4, 4]] * 3


def test_the_deal_is_a_pure_function_of_the_batch_and_the_lengths():
    one, again = (dealt(batch(40), CORPUS, 2, 3) for _ in range(2))
    assert all(np.array_equal(a, b) for x, y in zip(one, again, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize(("lengths", "parts", "least", "expected"), [
    ([8, 2, 2, 2, 2], 2, 1, [1]),
    ([8, 2, 2, 2, 2], 2, 2, [2]),
    ([90, 1, 1, 1, 1, 1], 3, 2, [2, 4]),
    ([1, 1, 1, 1, 1, 90], 3, 2, [2, 4]),
    ([5, 5, 5], 2, 4, [2]),
    ([5, 5], 1, 1, []),
])  # fmt: skip
def test_where_rows_are_cut(lengths, parts, least, expected):
    assert cuts(np.array(lengths), parts, least=least).tolist() == expected
