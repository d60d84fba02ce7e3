"""The winner with its interval, and whether it really is one."""

import numpy as np
import pytest
from scipy import stats

from heliostat.tune.config import Confirm
from heliostat.tune.finalists import concluded, interval, paired_p_value


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


@pytest.mark.parametrize(("differences", "p"), [([0.0, 0.0, 0.0], 1.0), ([0.1, 0.1, 0.1], 0.0)])
def test_differences_without_spread(differences, p):
    assert paired_p_value(np.array(differences), 0.0) == pytest.approx(p, abs=1e-12)


def test_finalists_are_ranked_by_their_means_and_a_lucky_one_is_not_called_better():
    values = {3: [0.90, 0.97, 0.89], 8: [0.91, 0.92, 0.93], 5: [0.5, 0.6, 0.4]}
    told = concluded(values, Confirm(seeds=3), larger_is_better=True, held_out_share=0.0)
    assert [c.trial for c in told.finalists] == [3, 8, 5] or [c.trial for c in told.finalists] == [8, 3, 5]
    assert not told.significant
    assert told.p_value > 0.05


def test_a_clear_winner_is_significant_and_smaller_may_be_better():
    values = {1: [0.30, 0.31, 0.29], 2: [0.50, 0.52, 0.51]}
    told = concluded(values, Confirm(seeds=3), larger_is_better=False, held_out_share=0.0)
    assert told.finalists[0].trial == 1
    assert told.significant


def test_one_finalist_has_an_interval_and_no_test():
    told = concluded({4: [0.9, 0.8]}, Confirm(folds=2), larger_is_better=True, held_out_share=1.0)
    assert (told.p_value, told.significant, told.how) == (None, False, "folds")
