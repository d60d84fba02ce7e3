"""The winner with its interval, and whether it really is one."""

import numpy as np
import pytest
from scipy import stats

from heliostat.tune.config import Confirm
from heliostat.tune.finalists import Measured, concluded, interval, paired_p_value
from heliostat.tune.weighing import Weighed, Weighing


def plainly(values):
    return {trial: [Measured(value) for value in every] for trial, every in values.items()}


def test_an_interval_is_students():
    values = [0.90, 0.93, 0.91, 0.95]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    told = interval(values, 0.0)
    assert (told.low, told.high) == pytest.approx((low, high))


def test_folds_widen_the_interval_for_the_rows_they_share():
    values = [0.90, 0.93, 0.91, 0.95, 0.92]
    assert interval(values, 0.25).high > interval(values, 0.0).high


def test_a_paired_test_is_the_t_test():
    one, other = np.array([0.9, 0.92, 0.95, 0.91]), np.array([0.88, 0.91, 0.93, 0.91])
    assert paired_p_value(one - other, 0.0) == pytest.approx(stats.ttest_rel(one, other).pvalue)


@pytest.mark.parametrize(("differences", "p"), [([0.0, 0.0, 0.0], 1.0), ([0.1, 0.1, 0.1], 0.25), ([0.93 - 0.92, 0.91 - 0.90], 0.5)])
def test_differences_without_spread_are_as_likely_as_their_signs(differences, p):
    assert paired_p_value(np.array(differences), 0.0) == pytest.approx(p, abs=1e-12)


def test_finalists_are_ranked_by_their_means_and_a_lucky_one_is_not_called_better():
    values = {3: [0.90, 0.97, 0.89], 8: [0.91, 0.92, 0.93], 5: [0.5, 0.6, 0.4]}
    told = concluded(plainly(values), Confirm(seeds=3), weighing=Weighing("max", {}), held_out_share=0.0)
    assert [c.trial for c in told.finalists] == [3, 8, 5] or [c.trial for c in told.finalists] == [8, 3, 5]
    assert not told.significant
    assert told.p_value > 0.05


def test_a_clear_winner_is_significant_and_smaller_may_be_better():
    values = {1: [0.30, 0.31, 0.29], 2: [0.50, 0.52, 0.51]}
    told = concluded(plainly(values), Confirm(seeds=3), weighing=Weighing("min", {}), held_out_share=0.0)
    assert told.finalists[0].trial == 1
    assert told.significant


def test_one_finalist_has_an_interval_and_no_test():
    told = concluded(plainly({4: [0.9, 0.8]}), Confirm(folds=2), weighing=Weighing("max", {}), held_out_share=1.0)
    assert (told.p_value, told.significant, told.how) == (None, False, "folds")


def slow(weight=None, limit=None):
    return Weighing("max", {"latency": Weighed(None, "min", weight, limit)})


FOUND = {
    1: [Measured(0.95, {"latency": 12.0}), Measured(0.97, {"latency": 8.5}), Measured(0.96, {"latency": 11.0})],
    2: [Measured(0.90, {"latency": 10.5}), Measured(0.92, {"latency": 5.0}), Measured(0.91, {"latency": 5.0})],
    3: [Measured(0.80, {"latency": 1.0}), Measured(0.82, {"latency": 1.0}), Measured(0.81, {"latency": 1.0})],
}


@pytest.mark.parametrize(
    ("weighing", "order", "within"),
    [
        (slow(), [1, 2, 3], [True, True, True]),
        (slow(limit=10.0), [2, 3, 1], [True, True, False]),  # by the means: one repetition of 2 is beyond, and one of 1 within
        (slow(limit=0.5), [3, 2, 1], [False, False, False]),
        (slow(weight=0.015), [2, 1, 3], [True, True, True]),
        (slow(weight=0.02, limit=6.0), [3, 2, 1], [True, False, False]),
    ],
)
def test_finalists_are_ranked_by_what_their_means_weigh_and_behind_a_limit_by_it(weighing, order, within):
    told = concluded(FOUND, Confirm(seeds=3), weighing=weighing, held_out_share=0.0)
    assert [one.trial for one in told.finalists] == order
    assert [one.within for one in told.finalists] == within
    assert (told.p_value is None) is (not all(within[:2]))
    assert {one.trial: one.objectives["latency"] for one in told.finalists} == pytest.approx({1: 10.5, 2: 20.5 / 3, 3: 1.0})


def test_what_is_weighed_decides_whether_the_winner_is_better():
    even = {
        1: [Measured(0.9, {"latency": 5.0}), Measured(0.8, {"latency": 3.0})],
        2: [Measured(0.9, {"latency": 9.0}), Measured(0.8, {"latency": 7.0})],
    }
    assert concluded(even, Confirm(seeds=2), weighing=slow(weight=0.01), held_out_share=0.0).p_value == 0.5
    assert concluded(even, Confirm(seeds=2), weighing=slow(), held_out_share=0.0).p_value == 1.0
