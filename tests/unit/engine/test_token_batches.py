"""Batches of so many tokens: the same ones whatever the number of workers, every row once per epoch."""

from itertools import pairwise

import numpy as np
import pytest

from heliostat.core import seeds
from heliostat.engine.streams import Batches
from heliostat.engine.token_batches import TokenBatches, boundaries

ROWS, BUDGET = 200, 300
LENGTHS = np.clip(seeds.rng(1, "test", "lengths").lognormal(3, 1, ROWS), 1, 400).astype(int)  # some exceed the budget


def order(seed=5, index_N=None):
    return Batches(np.arange(ROWS) if index_N is None else index_N, 1, 1, seed).order


def workers(world, accumulation=1, **options):
    return [TokenBatches(order(**options), LENGTHS, BUDGET, accumulation, rank, world) for rank in range(world)]


@pytest.mark.parametrize(("lengths", "budget", "expected"), [
    ([], 10, [0]),
    ([4, 4, 4, 4, 4], 8, [0, 2, 4, 5]),
    ([4, 4, 4, 4, 4], 11, [0, 2, 4, 5]),
    ([3, 20, 3, 3], 10, [0, 1, 2, 4]),
    ([20, 20], 10, [0, 1, 2]),
    ([1, 9, 1, 9], 10, [0, 2, 4]),
])  # fmt: skip
def test_a_batch_takes_rows_until_one_more_would_exceed_the_budget(lengths, budget, expected):
    assert boundaries(np.array(lengths, dtype=np.int64), budget).tolist() == expected


def test_batches_are_as_large_as_the_budget_lets_them_be():
    rows = order()(0)
    starts = boundaries(LENGTHS[rows], BUDGET)
    for low, high in pairwise(starts):
        assert LENGTHS[rows[low:high]].sum() <= BUDGET or high == low + 1
        assert high == ROWS or LENGTHS[rows[low : high + 1]].sum() > BUDGET


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_every_row_is_seen_once_per_epoch(world, accumulation):
    everyone = workers(world, accumulation)
    for epoch in range(3):
        begin, end = (everyone[0].steps(e) if e else 0 for e in (epoch, epoch + 1))
        shares = [worker.share(step) for step in range(begin, end) for worker in everyone]
        assert sorted(int(row) for share in shares for micro in share if not micro.filler for row in micro.rows) == list(range(ROWS))
        assert {len(share) for share in shares} == {accumulation}
        assert all(len(micro.rows) for share in shares for micro in share)


def test_the_global_batches_are_the_same_for_every_number_of_workers():
    alone = workers(1)[0]
    for world, accumulation in ((2, 1), (2, 2), (4, 1)):
        for rank, worker in enumerate(workers(world, accumulation)):
            assert worker.steps(2) == alone.steps(2)
            for step in range(alone.steps(2)):
                assert np.array_equal(worker.whole(step), alone.whole(step)), (world, rank, step)


def test_a_step_is_the_same_whatever_was_asked_before():
    """Resume seeks, it does not replay."""
    forward, last = workers(1)[0], workers(1)[0].steps(3) - 1
    rows = [forward.whole(step) for step in range(last + 1)]
    back = workers(1)[0]
    assert all(np.array_equal(back.whole(step), rows[step]) for step in reversed(range(last + 1)))


def test_epochs_have_as_many_steps_as_their_order_gives():
    one = workers(1)[0]
    counts = [len(boundaries(LENGTHS[order()(epoch)], BUDGET)) - 1 for epoch in range(8)]
    assert len(set(counts)) > 1
    assert [one.steps(e) for e in range(1, 9)] == np.cumsum(counts).tolist()
    assert [one.epoch(step) for step in range(one.steps(8))] == [e for e, count in enumerate(counts) for _ in range(count)]
    assert workers(1)[0].epoch(one.steps(5)) == 5  # asked out of the blue


@pytest.mark.parametrize("epochs", [0.001, 0.25, 1.5, 2.75])
def test_a_part_of_an_epoch_is_its_share_of_the_steps(epochs):
    one = workers(1)[0]
    whole = int(epochs)
    before = one.steps(whole) if whole else 0
    assert one.steps(epochs) == max(1, before + round((epochs - whole) * (one.steps(whole + 1) - before)))
    assert one.progress(one.steps(epochs)) == pytest.approx(epochs, abs=1 / one.steps(1))  # to the nearest step


def test_progress_counts_epochs():
    one = workers(1)[0]
    assert one.progress(0) == 0.0
    assert one.progress(one.steps(1)) == 1.0
    assert one.progress(one.steps(2) - 1) == pytest.approx(2.0 - 1 / (one.steps(2) - one.steps(1)), abs=1e-12)  # float64


def test_only_the_rows_of_the_order_are_trained_on():
    some = np.arange(0, ROWS, 3)
    one = TokenBatches(order(index_N=some), LENGTHS, BUDGET, 1)
    assert one.rows == len(some)
    assert sorted(int(row) for step in range(one.steps(1)) for row in one.whole(step)) == some.tolist()
