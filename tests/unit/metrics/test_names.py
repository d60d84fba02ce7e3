"""Metrics of names that apply or not, against scikit-learn on many random shapes."""

import math
import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from heliostat.core import seeds
from heliostat.core.family import build

CASES = [(400, 5, 1.0), (37, 2, 0.3), (50, 12, 2.0), (9, 3, 5.0), (300, 30, 0.5), (20, 1, 1.0)]
EXACT = 1e-12  # both sides are float64 sums of the same terms


def made(case):
    rows, names, skill = CASES[case]
    rng = seeds.rng(case, "test", "names")
    targets_NC = (rng.random((rows, names)) < rng.uniform(0.05, 0.6, names)).astype(np.int8)
    logits_NC = (rng.normal(-0.5, 1.0, (rows, names)) + skill * targets_NC).round(1)  # with equal scores among them
    return logits_NC, targets_NC


def quietly(function, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of a name without rows, which we leave out
        return function(*arguments, **options)


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("average", ["micro", "macro"])
def test_f1_agrees_with_scikit_learn(case, average):
    logits_NC, targets_NC = made(case)
    decided_NC = (logits_NC > 0).astype(np.int8)
    seen = (decided_NC.any(0)) | (targets_NC.any(0))
    expected = quietly(sk.f1_score, targets_NC[:, seen], decided_NC[:, seen], average=average if seen.sum() > 1 else "binary")
    assert build("metrics", f"f1_multilabel_{average}").value(logits_NC, targets_NC) == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_exact_match_is_subset_accuracy(case):
    logits_NC, targets_NC = made(case)
    expected = sk.accuracy_score(targets_NC, (logits_NC > 0).astype(np.int8))
    assert build("metrics", "exact_match_multilabel").value(logits_NC, targets_NC) == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_mean_average_precision_agrees_with_scikit_learn_also_under_weights(case):
    logits_NC, targets_NC = made(case)
    weights_RN = np.vstack([np.ones(len(logits_NC)), seeds.rng(case, "test", "weights").integers(1, 4, (3, len(logits_NC)))])
    has = np.flatnonzero(targets_NC.any(0))
    expected = [
        np.mean([sk.average_precision_score(targets_NC[:, c], logits_NC[:, c], sample_weight=weights_N) for c in has])
        for weights_N in weights_RN
    ]
    assert build("metrics", "map").resampled(logits_NC, targets_NC, weights_RN) == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("name", ["f1_multilabel_micro", "f1_multilabel_macro", "map"])
def test_rows_that_none_of_the_names_fits_define_nothing(name):
    metric = build("metrics", name)
    assert math.isnan(metric.value(np.full((4, 3), -1.0), np.zeros((4, 3), dtype=np.int8)))
    weights_RN = np.array([[1, 1, 0, 0], [1, 1, 1, 1]])  # the only row with a name is not drawn in the first
    targets_NC = np.array([[0, 0], [0, 0], [0, 0], [1, 0]], dtype=np.int8)
    first, second = metric.resampled(np.full((4, 2), -1.0) + 2 * targets_NC, targets_NC, weights_RN)
    assert math.isnan(first)
    assert second == 1.0
