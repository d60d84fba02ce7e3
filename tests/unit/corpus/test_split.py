"""Splits: exact shares per class, groups whole, the same for any order of rows."""

from collections import Counter

import numpy as np
import pytest

from heliostat.core.errors import UserError
from heliostat.corpus.config import SplitConfig
from heliostat.corpus.split import split, targets


def rows(**counts):
    labels = [label for label, count in counts.items() for _ in range(count)]
    return [f"{i:06d}" for i in range(len(labels))], labels


def shares(labels, places, label):
    return [sum(1 for one, place in zip(labels, places, strict=True) if one == label and place == s) for s in range(3)]


def test_every_class_gets_its_shares_to_the_row():
    ids, labels = rows(big=1000, small=20, tiny=3)
    places = split(ids, labels, range(len(ids)), SplitConfig(), 7)
    assert shares(labels, places, "big") == [700, 150, 150]
    assert shares(labels, places, "small") == [14, 3, 3]
    assert shares(labels, places, "tiny") == [1, 1, 1]


def test_the_order_of_rows_does_not_count_and_the_seed_does():
    ids, labels = rows(a=200, b=100)
    one = split(ids, labels, range(300), SplitConfig(), 7)
    order = np.random.default_rng(0).permutation(300)
    other = split([ids[i] for i in order], [labels[i] for i in order], range(300), SplitConfig(), 7)
    assert (one[order] == other).all()
    assert (split(ids, labels, range(300), SplitConfig(), 8) != one).any()


def test_units_stay_whole_and_shares_hold_about():
    rng = np.random.default_rng(1)
    units = np.repeat(np.arange(200), rng.integers(1, 12, 200)).tolist()
    ids = [f"{i:06d}" for i in range(len(units))]
    labels = ["ab"[rng.integers(2)] for _ in units]
    places = split(ids, labels, units, SplitConfig(), 7)
    assert all(len({places[i] for i in range(len(units)) if units[i] == unit}) == 1 for unit in set(units))
    for label, count in Counter(labels).items():
        found = np.array(shares(labels, places, label)) / count
        assert np.allclose(found, [0.7, 0.15, 0.15], atol=0.02)  # a unit has up to 11 of some 600 rows of a class


def test_large_units_do_not_gather_in_one_split():
    units = [*[i // 2 for i in range(200)], *range(1000, 1800)]
    ids = [f"{i:06d}" for i in range(1000)]
    places = split(ids, ["a"] * 1000, units, SplitConfig(), 7)
    in_pairs = Counter(places[:200].tolist())
    assert [in_pairs[s] for s in range(3)] == pytest.approx([140, 30, 30], abs=6)


def test_a_class_too_small_is_named_with_its_count():
    ids, labels = rows(big=50, rare=2, gone=1)
    with pytest.raises(UserError) as caught:
        split(ids, labels, range(53), SplitConfig(), 7)
    assert len(caught.value.problems) == 2
    assert "'rare' has 2 rows" in caught.value.problems[1]
    assert "at least 3" in caught.value.problems[1]


def test_a_class_in_too_few_groups_is_named():
    ids, labels = rows(a=30, b=30)
    with pytest.raises(UserError, match="'b' has 30 rows in 2 groups"):
        split(ids, labels, [*range(30), *[100] * 15, *[101] * 15], SplitConfig(group="author"), 7)


def test_few_large_groups_reach_every_split():
    ids, labels = rows(a=60, b=60)
    units = [i // 20 for i in range(60)] * 2  # three groups, each with both classes
    places = split(ids, labels, units, SplitConfig(group="author"), 7)
    assert Counter(places.tolist()) == {0: 40, 1: 40, 2: 40}


def test_groups_that_must_leave_a_split_empty_are_told():
    labels = ["a", "b", "c", "a", "b", "d", "a", "c", "d", "b", "c", "d"]  # each class in three of four groups: no way to part them
    with pytest.raises(UserError, match="none of them can be in") as caught:
        split([f"{i:06d}" for i in range(12)], labels, [i // 3 for i in range(12)], SplitConfig(group="author"), 7)
    assert "choose another corpus.split.group" in str(caught.value)


@pytest.mark.parametrize("count", [3, 4, 5, 6, 10, 101])
def test_targets_add_up_and_leave_no_split_empty(count):
    for config in (SplitConfig(), SplitConfig(valid=0.45, test=0.5), SplitConfig(valid=0.01, test=0.01)):
        goal = targets(count, config)
        assert goal.sum() == count
        assert (goal >= 1).all()
