"""Rows with several names: shares of every name, units whole, the same for any order of rows."""

from collections import Counter

import numpy as np
import pytest

from heliostat.core import seeds
from heliostat.core.errors import UserError
from heliostat.corpus.config import SplitConfig
from heliostat.corpus.stratification import split


def drawn(count, shares):
    """Rows whose names come independently, each with its share."""
    rng = seeds.rng(1, "test", "stratification", count)
    names = [[f"name {i}" for i in np.flatnonzero(rng.random(len(shares)) < shares)] for _ in range(count)]
    return [f"{i:06d}" for i in range(count)], names


def of_name(names, places, name):
    return [sum(name in one and place == s for one, place in zip(names, places, strict=True)) for s in range(3)]


def test_every_name_gets_its_shares_and_so_do_the_rows():
    ids, names = drawn(2000, [0.5, 0.2, 0.05, 0.01, 0.004])
    places = split(ids, names, range(2000), SplitConfig(), 7)
    for name, count in Counter(name for one in names for name in one).items():
        wanted = np.array([0.7, 0.15, 0.15]) * count
        assert of_name(names, places, name) == pytest.approx(wanted, abs=max(1.5, 0.01 * count))  # rows carry several names at once
    assert Counter(places.tolist()) == pytest.approx({0: 1400, 1: 300, 2: 300}, abs=20)


def test_it_keeps_rare_names_better_apart_than_chance():
    ids, names = drawn(3000, np.full(60, 0.004))
    places = split(ids, names, range(3000), SplitConfig(), 7)
    chance = seeds.rng(2, "test", "chance").choice(3, 3000, p=[0.7, 0.15, 0.15])

    def missed(places):
        return sum(0 in of_name(names, places, f"name {i}") for i in range(60))

    assert missed(places) == 0 < missed(chance)  # names of about twelve rows


def test_the_order_of_rows_does_not_count_and_the_seed_does():
    ids, names = drawn(300, [0.4, 0.1, 0.02])
    one = split(ids, names, range(300), SplitConfig(), 7)
    order = np.random.default_rng(0).permutation(300)
    other = split([ids[i] for i in order], [names[i][::-1] for i in order], range(300), SplitConfig(), 7)
    assert (one[order] == other).all()
    assert (split(ids, names, range(300), SplitConfig(), 8) != one).any()


def test_units_stay_whole_and_shares_hold_about():
    rng = np.random.default_rng(1)
    units = np.repeat(np.arange(300), rng.integers(1, 9, 300)).tolist()
    ids, names = drawn(len(units), [0.4, 0.2, 0.1])
    places = split(ids, names, units, SplitConfig(), 7)
    assert all(len({places[i] for i in range(len(units)) if units[i] == unit}) == 1 for unit in set(units))
    for name, count in Counter(name for one in names for name in one).items():
        assert np.allclose(np.array(of_name(names, places, name)) / count, [0.7, 0.15, 0.15], atol=0.03)  # a unit has up to 8 rows


def test_a_name_too_rare_for_three_splits_is_trained_on():
    ids, names = drawn(200, [0.5])
    names[17], names[18] = ["twice", *names[17]], ["twice"]
    names[90] = ["once"]
    places = split(ids, names, range(200), SplitConfig(), 7)
    assert of_name(names, places, "once") == [1, 0, 0]
    assert of_name(names, places, "twice")[0] >= 1


def test_rows_without_any_name_fill_the_shares():
    ids = [f"{i:03d}" for i in range(100)]
    places = split(ids, [[] for _ in ids], range(100), SplitConfig(valid=0.1, test=0.2), 7)
    assert Counter(places.tolist()) == {0: 70, 1: 10, 2: 20}


def test_few_large_groups_reach_every_split():
    units = [i // 20 for i in range(60)]
    places = split([f"{i:03d}" for i in range(60)], [["a"]] * 60, units, SplitConfig(), 7)
    assert Counter(places.tolist()) == {0: 20, 1: 20, 2: 20}


def test_too_few_rows_are_refused():
    with pytest.raises(UserError, match="2 rows or groups"):
        split(["a", "b", "c"], [["x"]] * 3, [0, 0, 1], SplitConfig(), 7)
