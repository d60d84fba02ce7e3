"""Metrics of numbers, against scikit-learn and scipy on many random shapes."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from heliostat.core import seeds
from heliostat.core.family import build

CASES = [(400, 1.0, 0.0, 1), (37, 30.0, 1e6, 1), (50, 1e-6, 0.0, 9), (9, 5.0, -3.0, 1), (300, 2.0, 50.0, 0)]
EXPECTED = {
    "rmse": lambda t, a: sk.root_mean_squared_error(t, a),
    "mae": lambda t, a: sk.mean_absolute_error(t, a),
    "r2": lambda t, a: sk.r2_score(t, a),
    "pearson": lambda t, a: stats.pearsonr(t, a).statistic,
    "spearman": lambda t, a: stats.spearmanr(t, a).statistic,
}


def made(case):
    rows, spread, centre, digits = CASES[case]
    rng = seeds.rng(case, "test", "numbers")
    targets_N = centre + spread * rng.normal(size=rows).round(digits)  # few digits make equal values
    return (targets_N + spread * rng.normal(size=rows).round(digits))[:, None], targets_N


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("name", EXPECTED)
def test_agrees_with_scikit_learn_and_scipy(name, case):
    answers_N1, targets_N = made(case)
    expected = EXPECTED[name](targets_N, answers_N1[:, 0])
    assert build("metrics", name).value(answers_N1, targets_N) == pytest.approx(expected, rel=1e-9)  # around 1e6 a float64 has 1e-10


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("name", EXPECTED)
def test_a_resample_is_what_the_drawn_rows_give(name, case):
    answers_N1, targets_N = made(case)
    drawn_RN = seeds.rng(case, "test", "drawn").integers(0, len(targets_N), (4, len(targets_N)))
    weights_RN = np.stack([np.bincount(drawn_N, minlength=len(targets_N)) for drawn_N in drawn_RN])
    expected = [EXPECTED[name](targets_N[drawn_N], answers_N1[drawn_N, 0]) for drawn_N in drawn_RN]
    assert build("metrics", name).resampled(answers_N1, targets_N, weights_RN) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["r2", "pearson", "spearman"])
def test_targets_that_do_not_vary_define_nothing(name):
    metric = build("metrics", name)
    answers_N1, targets_N = np.array([[1.0], [2.0], [4.0]]), np.array([0.1, 0.1, 7.0])
    alone_R = metric.resampled(answers_N1, targets_N, np.array([[3, 1, 0], [1, 1, 1]]))
    assert math.isnan(alone_R[0])
    assert math.isfinite(alone_R[1])
    assert math.isnan(metric.value(answers_N1, np.full(3, 0.1)))


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_the_same_answer_to_everything_is_no_correlation(name):
    assert math.isnan(build("metrics", name).value(np.full((5, 1), 0.3), np.arange(5.0)))


def test_the_mean_of_the_targets_explains_nothing_and_worse_is_negative():
    targets_N = np.array([1.0, 2.0, 6.0])
    assert build("metrics", "r2").value(np.full((3, 1), 3.0), targets_N) == pytest.approx(0.0, abs=1e-12)
    assert build("metrics", "r2").value(-targets_N[:, None], targets_N) < 0


@pytest.mark.parametrize("name", ["r2", "pearson", "spearman"])
def test_it_is_the_targets_that_define_nothing_and_not_the_answers(name):
    metric, alike = build("metrics", name), np.full((5, 1), 0.3)
    assert metric.is_defined(alike, np.arange(5.0))
    assert not metric.is_defined(alike, np.ones(5))
    assert not metric.is_defined(np.arange(5.0)[:, None], np.ones(5))
