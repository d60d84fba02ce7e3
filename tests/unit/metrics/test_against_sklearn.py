"""Every metric against an independent implementation, on many random shapes."""

import numpy as np
import pytest
from sklearn import metrics as sk

from heliostat.core import seeds
from heliostat.core.family import build

CASES = [(400, 5, 1.0), (37, 2, 0.3), (50, 12, 2.0), (9, 3, 5.0), (300, 3, 0.0)]
EXACT = 1e-10  # both sides are float64 sums of the same terms


def made(case):
    rows, labels, skill = CASES[case]
    rng = seeds.rng(case, "test", "sklearn")
    targets_N = np.concatenate([np.arange(labels), rng.integers(0, labels, rows - labels) // rng.integers(1, 3, rows - labels)])
    logits_NC = rng.normal(size=(rows, labels)) + skill * np.eye(labels)[targets_N]
    probs_NC = np.exp(logits_NC) / np.exp(logits_NC).sum(1, keepdims=True)
    return logits_NC, probs_NC, targets_N, logits_NC.argmax(1)


EXPECTED = {
    "accuracy": lambda p, t, d: sk.accuracy_score(t, d),
    "f1_macro": lambda p, t, d: sk.f1_score(t, d, average="macro", zero_division=0),
    "precision_macro": lambda p, t, d: sk.precision_score(t, d, average="macro", zero_division=0),
    "recall_macro": lambda p, t, d: sk.recall_score(t, d, average="macro", zero_division=0),
    "log_loss": lambda p, t, d: sk.log_loss(t, p, labels=range(p.shape[1])),
    "matthews": lambda p, t, d: sk.matthews_corrcoef(t, d),
    "auc": lambda p, t, d: np.mean([sk.roc_auc_score(t == c, p[:, c]) for c in range(p.shape[1])]),
}


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("name", EXPECTED)
def test_agrees_with_scikit_learn(name, case):
    logits_NC, probs_NC, targets_N, decided_N = made(case)
    assert build("metrics", name).value(logits_NC, targets_N) == pytest.approx(EXPECTED[name](probs_NC, targets_N, decided_N), abs=EXACT)


def test_tied_scores_count_half_in_the_area():
    logits_NC = np.log([[0.5, 0.5], [0.5, 0.5], [0.8, 0.2], [0.5, 0.5]])
    targets_N = np.array([0, 1, 0, 1])
    expected = sk.roc_auc_score(targets_N, np.exp(logits_NC[:, 1]))
    assert build("metrics", "auc").value(logits_NC, targets_N) == pytest.approx(expected) == 0.75


def test_area_leaves_out_a_label_without_rows():
    logits_NC = np.array([[3.0, 1, 0], [0, 3.0, 1], [2.0, 1, 5]])
    targets_N = np.array([0, 1, 0])
    expected = np.mean([sk.roc_auc_score(targets_N == c, logits_NC[:, c] - np.log(np.exp(logits_NC).sum(1))) for c in (0, 1)])
    assert build("metrics", "auc").value(logits_NC, targets_N) == pytest.approx(expected)
    assert np.isnan(build("metrics", "auc").value(logits_NC, np.zeros(3, dtype=int)))


@pytest.mark.parametrize("case", range(len(CASES)))
def test_calibration_error_is_the_sum_over_bins_of_guo(case):
    _, probs_NC, targets_N, decided_N = made(case)
    confidence_N, expected = probs_NC.max(1), 0.0
    for low in range(15):
        inside_N = (confidence_N > low / 15) & (confidence_N <= (low + 1) / 15)
        if inside_N.any():
            gap = abs((decided_N == targets_N)[inside_N].mean() - confidence_N[inside_N].mean())
            expected += inside_N.mean() * gap
    assert build("metrics", "calibration_error").value(np.log(probs_NC), targets_N) == pytest.approx(expected, abs=EXACT)


def test_calibration_of_a_coin_and_of_a_braggart():
    ece = build("metrics", "calibration_error")
    targets_N = np.array([0, 1] * 50)
    assert ece.value(np.log(np.full((100, 2), 0.5)), targets_N) == pytest.approx(0.0, abs=1e-12)
    assert ece.value(np.tile([60.0, 0.0], (100, 1)), targets_N) == pytest.approx(0.5, abs=1e-12)


def test_a_zero_probability_is_clipped_as_scikit_learn_clips_it():
    probs_NC, targets_N = np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([1, 0])
    with np.errstate(divide="ignore"):
        value = build("metrics", "log_loss").value(np.log(probs_NC), targets_N)
    assert value == pytest.approx(sk.log_loss(targets_N, probs_NC), abs=1e-10)


def test_targets_outside_the_labels_are_refused():
    with pytest.raises(AssertionError, match="targets outside 0 to 1"):
        build("metrics", "accuracy").value(np.zeros((2, 2)), np.array([0, -100]))
