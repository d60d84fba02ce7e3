"""What every metric promises, found by itself in the family; and what those promise that judge logits of labels."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from heliostat.core import family, seeds

ROWS, LABELS = 60, 4


def rng(*names):
    return seeds.rng(3, "test", "metrics", *names)


@dataclass(frozen=True)
class Kind:
    """Answers of one kind: random ones, and what they are compared with."""

    answers: np.ndarray
    targets: np.ndarray
    perfect: np.ndarray
    wrong: np.ndarray


def labels():
    targets_N = rng().integers(0, LABELS, ROWS)
    shown = 50.0 * np.eye(LABELS)
    return Kind(rng("logits").normal(size=(ROWS, LABELS)), targets_N, shown[targets_N], shown[(targets_N + 1) % LABELS])


def names():
    targets_NC = rng().integers(0, 2, (ROWS, LABELS))
    return Kind(rng("logits").normal(size=(ROWS, LABELS)), targets_NC, 50.0 * targets_NC - 25, 25 - 50.0 * targets_NC)


def numbers():
    targets_N = rng().normal(200.0, 30.0, ROWS).round(-1)  # with equal ones among them
    answers_N = targets_N + rng("noise").normal(0, 20.0, ROWS)
    return Kind(answers_N[:, None], targets_N, targets_N[:, None], -targets_N[:, None])


def likelihood():
    tokens_N = rng().integers(1, 9, ROWS)
    lost_N = tokens_N * rng("loss").uniform(0.5, 4.0, ROWS)
    one = lambda lost_N: np.stack([lost_N, tokens_N, 4 * tokens_N], 1)  # noqa: E731
    return Kind(one(lost_N), np.zeros(ROWS, dtype=int), one(np.zeros(ROWS)), one(9.0 * tokens_N))


def tags():
    words, kinds = 6, 2
    targets_NW = rng().integers(0, 2 * kinds + 1, (ROWS, words))
    targets_NW[:, 0] = 1  # a span in every row
    targets_NW[rng("length").random(ROWS) < 0.3, words // 2 :] = -100
    shown, right_NW = 50.0 * np.eye(2 * kinds + 1), np.maximum(targets_NW, 0)
    logits_NWC = rng("logits").normal(size=(ROWS, words, 2 * kinds + 1))
    return Kind(logits_NWC, targets_NW, shown[right_NW], shown[(right_NW + 1) % (2 * kinds + 1)])


KINDS = {"labels": labels, "names": names, "numbers": numbers, "likelihood": likelihood, "tags": tags}
"""What a metric judges to answers of that kind."""
JUDGES = {name: family.find("metrics", name).judges for name in family.names("metrics")}


@pytest.fixture(params=list(JUDGES))
def metric(request):
    return family.build("metrics", request.param)


@pytest.fixture
def kind(metric):
    return KINDS[metric.judges]()


@pytest.fixture(params=[name for name, judges in JUDGES.items() if judges == "labels"])
def of_labels(request):
    return family.build("metrics", request.param)


def test_mode_is_stated(metric):
    assert metric.mode in ("max", "min")


def test_a_perfect_prediction_beats_a_random_one_and_a_wrong_one(metric, kind):
    best = metric.merit(metric.value(kind.perfect, kind.targets))
    assert best > metric.merit(metric.value(kind.answers, kind.targets))
    assert best > metric.merit(metric.value(kind.wrong, kind.targets))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_bad_answer_gives_nan_and_never_wins(metric, kind, bad):
    kind.answers[7, 0] = bad
    value = metric.value(kind.answers, kind.targets)
    assert math.isnan(value)
    assert metric.merit(value) == -math.inf < metric.merit(metric.value(kind.wrong, kind.targets))


def test_rows_are_told_to_define_it_and_none_are_not(metric, kind):
    assert metric.is_defined(kind.answers, kind.targets)
    assert not metric.is_defined(kind.answers[:0], kind.targets[:0])


def test_no_rows_is_not_a_number(metric, kind):
    assert math.isnan(metric.value(kind.answers[:0], kind.targets[:0]))


def test_the_order_of_rows_does_not_matter(metric, kind):
    order_N = seeds.rng(4, "test", "order").permutation(ROWS)
    # the same sums in another order: equal up to rounding
    shuffled = metric.value(kind.answers[order_N], kind.targets[order_N])
    assert shuffled == pytest.approx(metric.value(kind.answers, kind.targets), rel=1e-12, abs=1e-12)


def test_a_weight_is_a_repeated_row(metric, kind):
    weights_RN = seeds.rng(5, "test", "weights").integers(0, 4, (6, ROWS))
    weighted_R = metric.resampled(kind.answers, kind.targets, weights_RN)
    repeated = [metric.value(np.repeat(kind.answers, w, axis=0), np.repeat(kind.targets, w, axis=0)) for w in weights_RN]
    assert weighted_R == pytest.approx(repeated, rel=1e-11, abs=1e-12)  # sums of the same terms, taken together or one by one


def test_log_probabilities_count_as_logits(of_labels):
    kind = labels()
    log_probs_NC = kind.answers - np.log(np.exp(kind.answers).sum(1, keepdims=True))
    assert of_labels.value(log_probs_NC, kind.targets) == pytest.approx(of_labels.value(kind.answers, kind.targets), abs=1e-12)


def test_a_probability_of_zero_is_a_number(of_labels):
    targets_N = labels().targets
    with np.errstate(divide="ignore"):
        log_probs_NC = np.log(np.eye(LABELS)[targets_N])
    assert math.isfinite(of_labels.value(log_probs_NC, targets_N))
