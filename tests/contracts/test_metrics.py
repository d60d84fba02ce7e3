"""What every metric promises, found by itself in the family."""

import math

import numpy as np
import pytest

from heliostat.core import family, seeds

ROWS, LABELS = 60, 4


@pytest.fixture(params=[name for name in family.names("metrics") if family.find("metrics", name).judges == "labels"])
def metric(request):
    return family.build("metrics", request.param)


@pytest.fixture
def rows():
    rng = seeds.rng(3, "test", "metrics")
    return rng.normal(size=(ROWS, LABELS)), rng.integers(0, LABELS, ROWS)


def perfect(targets_N):
    return 50.0 * np.eye(LABELS)[targets_N]


def test_mode_is_stated(metric):
    assert metric.mode in ("max", "min")


def test_a_perfect_prediction_beats_a_random_one_and_a_wrong_one(metric, rows):
    logits_NC, targets_N = rows
    best = metric.merit(metric.value(perfect(targets_N), targets_N))
    assert best > metric.merit(metric.value(logits_NC, targets_N))
    assert best > metric.merit(metric.value(perfect((targets_N + 1) % LABELS), targets_N))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_bad_logit_gives_nan_and_never_wins(metric, rows, bad):
    logits_NC, targets_N = rows
    logits_NC[7, 2] = bad
    value = metric.value(logits_NC, targets_N)
    assert math.isnan(value)
    assert metric.merit(value) == -math.inf < metric.merit(metric.value(perfect((targets_N + 1) % LABELS), targets_N))


def test_no_rows_is_not_a_number(metric):
    assert math.isnan(metric.value(np.empty((0, LABELS)), np.empty(0, dtype=int)))


def test_the_order_of_rows_does_not_matter(metric, rows):
    logits_NC, targets_N = rows
    order_N = seeds.rng(4, "test", "order").permutation(ROWS)
    # the same sums in another order: equal up to rounding
    assert metric.value(logits_NC[order_N], targets_N[order_N]) == pytest.approx(metric.value(logits_NC, targets_N), abs=1e-12)


def test_log_probabilities_count_as_logits(metric, rows):
    logits_NC, targets_N = rows
    log_probs_NC = logits_NC - np.log(np.exp(logits_NC).sum(1, keepdims=True))
    assert metric.value(log_probs_NC, targets_N) == pytest.approx(metric.value(logits_NC, targets_N), abs=1e-12)


def test_a_probability_of_zero_is_a_number(metric, rows):
    with np.errstate(divide="ignore"):
        log_probs_NC = np.log(np.eye(LABELS)[rows[1]])
    assert math.isfinite(metric.value(log_probs_NC, rows[1]))


def test_a_weight_is_a_repeated_row(metric, rows):
    logits_NC, targets_N = rows
    weights_RN = seeds.rng(5, "test", "weights").integers(0, 4, (6, ROWS))
    weighted_R = metric.resampled(logits_NC, targets_N, weights_RN)
    repeated = [metric.value(np.repeat(logits_NC, w, axis=0), np.repeat(targets_N, w)) for w in weights_RN]
    assert weighted_R == pytest.approx(repeated, abs=1e-12)
