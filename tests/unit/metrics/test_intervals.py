"""Intervals and paired comparisons: they cover, they repeat, they are fast, and they agree with scipy."""

import math
import time

import numpy as np
import pytest
from scipy import stats

from heliostat.core import family, seeds
from heliostat.core.family import build
from heliostat.metrics import _intervals
from heliostat.metrics._intervals import bootstrap, bootstrap_means, mcnemar, paired_difference


def rows(count=400, labels=5, seed=0):
    rng = seeds.rng(seed, "test", "intervals")
    targets_N = rng.integers(0, labels, count)
    return rng.normal(size=(count, labels)) + 2 * np.eye(labels)[targets_N], targets_N


def all_metrics():
    return {name: build("metrics", name) for name in family.names("metrics") if family.find("metrics", name).judges == "labels"}


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    logits_NC, targets_N = rows()
    first, again = (bootstrap(all_metrics(), logits_NC, targets_N, seed=7, resamples=200) for _ in range(2))
    assert first == again
    assert bootstrap(all_metrics(), logits_NC, targets_N, seed=8, resamples=200) != first


def test_a_metric_has_the_same_interval_alone_and_among_others():
    logits_NC, targets_N = rows()
    among = bootstrap(all_metrics(), logits_NC, targets_N, seed=7, resamples=200)
    alone = bootstrap({"auc": build("metrics", "auc")}, logits_NC, targets_N, seed=7, resamples=200)
    assert alone["auc"] == among["auc"]


def test_chunks_do_not_change_the_interval(monkeypatch):
    values = {"x": seeds.rng(1, "test", "chunks").normal(size=50)}
    whole = bootstrap_means(values, seed=7, resamples=103)
    monkeypatch.setattr(_intervals, "CHUNK_ELEMENTS", 500)
    assert bootstrap_means(values, seed=7, resamples=103)["x"].model_dump() == pytest.approx(whole["x"].model_dump(), abs=1e-12)


def test_the_interval_of_a_mean_is_that_of_scipy():
    values_N = seeds.rng(2, "test", "scipy").exponential(size=300)
    ours = bootstrap_means({"x": values_N}, seed=7, resamples=5000)["x"]
    theirs = stats.bootstrap((values_N,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    # two random sets of 5000 resamples: a percentile is sure to a few hundredths of the interval's width
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=0.06 * (ours.high - ours.low))
    assert ours.value == pytest.approx(values_N.mean())


def test_accuracy_intervals_cover_the_truth_about_95_times_in_100():
    truth, covered, rng = 0.8, 0, seeds.rng(3, "test", "coverage")
    for repeat in range(200):
        right_N = (rng.random(200) < truth).astype(float)
        interval = bootstrap_means({"accuracy": right_N}, seed=repeat, resamples=300)["accuracy"]
        covered += interval.low <= truth <= interval.high
    assert 0.90 <= covered / 200 <= 0.99  # binomial(200, 0.95) lies inside with p > 0.99; percentile intervals are slightly narrow


def test_an_undefined_metric_has_an_undefined_interval():
    logits_NC, targets_N = rows()
    logits_NC[0, 0] = math.nan
    for interval in bootstrap(all_metrics(), logits_NC, targets_N, seed=7, resamples=100).values():
        assert math.isnan(interval.value)
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)
    assert math.isnan(bootstrap_means({"x": np.empty(0)}, seed=7, resamples=100)["x"].value)


def test_a_rare_label_does_not_undo_the_interval_of_the_area():
    logits_NC, _ = rows(40, 2)
    interval = bootstrap({"auc": build("metrics", "auc")}, logits_NC, np.array([1] + [0] * 39), seed=7, resamples=300)["auc"]
    assert 0 <= interval.low <= interval.value <= interval.high <= 1


def test_four_models_and_all_metrics_in_three_seconds():
    metrics = all_metrics()
    began = time.process_time()  # of this process: what else the machine does is not counted
    for model in range(4):
        bootstrap(metrics, *rows(seed=model), seed=7, resamples=1000)
    assert time.process_time() - began < 3


def test_a_paired_difference_sees_what_separate_intervals_hide():
    rng = seeds.rng(4, "test", "paired")
    second_N = rng.random(400) < 0.8
    first_N = second_N | (rng.random(400) < 0.15)  # right wherever the second is, and on some of the rest
    alone = [bootstrap_means({"a": x}, seed=7, resamples=1000)["a"] for x in (first_N, second_N)]
    together = paired_difference(first_N, second_N, seed=7)
    assert alone[0].low < alone[1].high  # the intervals overlap
    assert together.low > 0
    assert together.value == pytest.approx(first_N.mean() - second_N.mean())
    back = paired_difference(second_N, first_N, seed=7)
    assert (back.value, back.low) == pytest.approx((-together.value, -together.high))


@pytest.mark.parametrize(
    ("both", "only_first", "only_second"), [(50, 9, 2), (10, 3, 3), (5, 0, 0), (0, 1, 0), (7, 300, 251), (1, 4000, 4200)]
)
def test_mcnemar_is_the_exact_binomial_test(both, only_first, only_second):
    first_N = np.array([True] * both + [True] * only_first + [False] * only_second)
    second_N = np.array([True] * both + [False] * only_first + [True] * only_second)
    tosses = only_first + only_second
    expected = stats.binomtest(only_first, tosses).pvalue if tosses else 1.0
    assert mcnemar(first_N, second_N) == pytest.approx(expected, rel=1e-9)


def test_rows_that_cannot_be_paired_are_refused():
    with pytest.raises(AssertionError, match="cannot be paired"):
        paired_difference(np.ones(3), np.ones(4), seed=7)
    with pytest.raises(AssertionError, match="cannot be paired"):
        mcnemar(np.ones(3), np.ones(4))
