"""What every curriculum promises, found by itself in the family."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from heliostat.core import family, seeds
from heliostat.core.errors import UserError

NAMES = family.names("train.curricula")
ROWS = 1000


class Rows:
    """Rows whose length, loss and column each are in another order."""

    def __init__(self, count):
        self.lengths_N = seeds.rng(1, "length").integers(1, 50, count)
        self.losses_N = seeds.rng(1, "loss").exponential(1.0, count)
        self.difficulty = seeds.rng(1, "difficulty").normal(size=count)

    def column(self, name):
        return {"difficulty": self.difficulty}[name]


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def curriculum(name, **options):
    return family.build("train.curricula", {"use": name, **options})


def keys(name, count=ROWS):
    rows = Rows(count)
    return curriculum(name).keys(rows, rows.losses_N if curriculum(name).needs_losses else None)


def order(name, epoch, count=ROWS, seed=3, **options):
    return curriculum(name, **options).order(epoch, keys(name, count), seeds.rng(seed, "order", epoch))


def hardness(name, **options):
    """The mean rank of the keys in each tenth of the first epoch, 0 to 1."""
    ranks = np.argsort(np.argsort(keys(name))) / ROWS
    return [part.mean() for part in np.array_split(ranks[order(name, 0, **options)], 10)]


@pytest.mark.parametrize("options", [
    {},
    {"randomness": 0.0},
    {"randomness": 0.3, "span": 2.5},
    {"start": 1.0},
    {"root": 1.0, "buckets": 1},
    {"buckets": 7, "hardest_first": True},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("count", [1, 2, 99, ROWS])
def test_every_row_comes_once_in_every_epoch(name, count, options):
    for epoch in range(4):
        assert np.array_equal(np.sort(order(name, epoch, count, **options)), np.arange(count))


def test_it_is_a_pure_function_of_seed_epoch_and_keys(name):
    one = curriculum(name, span=3.0)
    found = [one.order(epoch, keys(name), seeds.rng(3, "order", epoch)) for epoch in range(4)]
    again = [order(name, epoch, span=3.0) for epoch in reversed(range(4))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    assert not np.array_equal(order(name, 0), order(name, 0, seed=4))
    assert len({tuple(found[epoch]) for epoch in range(4)}) == 4


def test_easy_rows_come_first_and_hard_ones_last(name):
    rising = hardness(name)
    assert rising[0] < 0.25
    assert rising[-1] > 0.6
    assert hardness(name, hardest_first=True)[0] > 0.75


def test_without_randomness_the_buckets_rise_strictly(name):
    """Inside one bucket the order is random: 10 rows of 1,000."""
    sorted_keys = keys(name)[order(name, 0, randomness=0.0)]
    buckets = np.array_split(sorted_keys, 100)
    assert all(a.max() <= b.min() for a, b in pairwise(buckets))
    assert not np.array_equal(sorted_keys, np.sort(sorted_keys))


def test_less_randomness_is_nearer_to_the_sorted_order(name):
    spread = [np.std(np.diff(keys(name)[order(name, 0, randomness=share)])) for share in (0.0, 0.5, 1.0)]
    assert spread == sorted(spread)


def test_no_row_comes_before_the_model_is_up_to_it(name):
    """But where the easier ones have run out: `competence` and the places of the bucket are what is open."""
    one = curriculum(name, start=0.05)
    found = order(name, 0, start=0.05)
    value = np.sort(keys(name))
    for bucket in range(100):
        open_ = max(int(np.ceil(one.competence(bucket / 100) * ROWS)), 10 * (bucket + 1))
        assert keys(name)[found[10 * bucket : 10 * bucket + 10]].max() <= value[min(open_, ROWS) - 1]


def test_after_its_span_the_order_is_random(name):
    for epoch in (1, 2):
        ranks = np.argsort(np.argsort(keys(name))) / ROWS
        halves = np.array_split(ranks[order(name, epoch)], 2)
        assert abs(halves[0].mean() - halves[1].mean()) < 0.06  # 3 standard deviations of the difference: 3 * 0.289 * sqrt(4 / 1000)


def test_a_long_span_goes_on_in_the_next_epoch(name):
    """Half way through at the end of the first of two epochs, the second begins with more rows open than the first."""
    ranks = np.argsort(np.argsort(keys(name))) / ROWS
    first, second = (ranks[order(name, epoch, span=2.0)][:100].mean() for epoch in (0, 1))
    assert first < second < 0.5


@pytest.mark.parametrize("root", [1.0, 2.0, 5.0])
def test_competence_rises_from_start_to_one(name, root):
    one = curriculum(name, start=0.1, span=2.0, root=root)
    values = [one.competence(epochs) for epochs in np.linspace(0, 3, 31)]
    assert values[0] == pytest.approx(0.1)
    assert values == sorted(values)
    assert values[20:] == pytest.approx([1.0] * 11)
    assert one.competence(1.0) == pytest.approx(((1 + 0.1**root) / 2) ** (1 / root))  # equation 8 of the paper


def test_rows_with_no_key_come_last(name):
    hard_N = keys(name).copy()
    hard_N[:5] = np.nan
    for options in ({}, {"hardest_first": True}):
        found = curriculum(name, randomness=0.0, **options).order(0, hard_N, seeds.rng(3, "order", 0))
        assert set(found[-10:]) >= set(range(5))


def test_keys_are_one_number_for_each_row(name):
    assert keys(name).shape == (ROWS,)
    assert keys(name).dtype == np.float64


def test_a_curriculum_that_needs_losses_says_so(name):
    if not curriculum(name).needs_losses:
        assert np.array_equal(curriculum(name).keys(Rows(9), None), keys(name, 9))
        return
    with pytest.raises(UserError, match="curriculum: 'loss' needs the loss of every row"):
        curriculum(name).keys(Rows(9), None)
    with pytest.raises(UserError, match="8 losses of a reference model for 9 rows"):
        curriculum(name).keys(Rows(9), np.zeros(8))


def test_a_column_is_read_as_numbers():
    rows = SimpleNamespace(column={"level": np.array(["2", "0.5", "", None, "-1e3"], dtype=object)}.__getitem__)
    found = curriculum("column", column="level").keys(rows, None)
    assert found[[0, 1, 4]].tolist() == [2.0, 0.5, -1000.0]
    assert np.isnan(found[[2, 3]]).all()


def test_a_column_that_is_none_or_holds_words_is_refused():
    rows = SimpleNamespace(column={"level": np.array(["2", "easy"], dtype=object)}.__getitem__)
    with pytest.raises(UserError, match=r"no column 'difficulty'.*corpus\.slices"):
        curriculum("column").keys(rows, None)
    with pytest.raises(UserError, match="'level' must hold numbers, and a row has 'easy'"):
        curriculum("column", column="level").keys(rows, None)
