"""Linear models on frozen embeddings: sound answers, whatever the split holds."""

import numpy as np
import pytest

from heliostat.core.seeds import rng
from heliostat.evaluate.baseline import SENTENCES, answers, log_probabilities, spaced


def split(rows, name, labels=3, skill=3.0):
    generator = rng(5, "test", name)
    targets_N = generator.integers(0, labels, rows)
    vectors_ND = generator.normal(size=(rows, 10)) + skill * np.eye(10)[targets_N]
    return vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True), targets_N


def test_it_learns_and_its_probabilities_sum_to_one():
    test_ND, targets_N = split(200, "test")
    log_probs_NC = log_probabilities(split(300, "train"), split(100, "valid"), test_ND, labels=3)
    assert (log_probs_NC.argmax(1) == targets_N).mean() > 0.9
    assert np.exp(log_probs_NC).sum(1) == pytest.approx(np.ones(200), abs=1e-5)  # float32


def test_the_penalty_comes_from_validation():
    test_ND, targets_N = split(400, "test", skill=0.0)
    train = split(60, "train", skill=0.0)
    log_probs_NC = log_probabilities(train, split(400, "valid", skill=0.0), test_ND, labels=3)
    loss = -log_probs_NC[np.arange(400), targets_N].mean()
    assert loss < np.log(3) + 0.1  # on noise the strongest penalty wins, which stays near the uniform guess


def test_a_label_that_training_lacks_gets_almost_no_probability():
    vectors_ND, targets_N = split(100, "train", labels=2)
    log_probs_NC = log_probabilities((vectors_ND, targets_N), split(50, "valid"), split(20, "test")[0], labels=3)
    assert log_probs_NC.shape == (20, 3)
    assert np.isfinite(log_probs_NC).all()
    assert (log_probs_NC[:, 2] < -30).all()


def test_a_single_label_is_no_obstacle():
    vectors_ND, _ = split(30, "train")
    zeros_N = np.zeros(30, dtype=int)
    log_probs_NC = log_probabilities((vectors_ND, zeros_N), (vectors_ND, zeros_N), vectors_ND, labels=2)
    assert (log_probs_NC.argmax(1) == 0).all()


@pytest.mark.parametrize(("rows", "most", "expected"), [(3, 5, [0, 1, 2]), (5, 5, [0, 1, 2, 3, 4]), (9, 3, [0, 4, 8]), (0, 3, [])])
def test_spaced_is_even_and_keeps_both_ends(rows, most, expected):
    assert spaced(rows, most).tolist() == expected


def several(rows, name, skill=3.0):
    """Each of three names holds by itself, and shows in a direction of its own."""
    generator = rng(5, "test", "several", name)
    has_NC = (generator.random((rows, 3)) < [0.5, 0.2, 0.6]).astype(np.int8)
    vectors_ND = generator.normal(size=(rows, 10)) + skill * has_NC @ np.eye(10)[:3]
    return vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True), has_NC


def test_names_are_decided_each_by_itself():
    test_ND, has_NC = several(200, "test")
    odds_NC = answers("names", several(400, "train"), several(100, "valid"), test_ND, labels=3)
    assert odds_NC.dtype == np.float32
    assert (((odds_NC > 0) == (has_NC > 0)).mean(0) > 0.85).all()


def test_names_together_are_scikit_learn_one_by_one():
    from sklearn.linear_model import LogisticRegression

    from heliostat.evaluate.baseline import _fit_names, _with_ones

    vectors_ND, has_NC = several(300, "train")
    found_BC = _fit_names(vectors_ND, has_NC, 3.0, np.zeros((11, 3)))
    for c in range(3):
        expected_N = LogisticRegression(C=3.0, max_iter=1000, tol=1e-8).fit(vectors_ND, has_NC[:, c]).decision_function(vectors_ND)
        assert (_with_ones(vectors_ND) @ found_BC)[:, c] == pytest.approx(expected_N, abs=0.02)  # both end when little is left to gain


def test_a_name_of_no_training_row_is_not_given():
    vectors_ND, has_NC = several(100, "train")
    has_NC[:, 1] = 0
    odds_NC = answers("names", (vectors_ND, has_NC), several(50, "valid"), several(20, "test")[0], labels=3)
    assert np.isfinite(odds_NC).all()
    assert (odds_NC[:, 1] < 0).all()


def numbers(rows, name, noise=0.1):
    generator = rng(5, "test", "numbers", name)
    vectors_ND = generator.normal(size=(rows, 10))
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return vectors_ND, 500.0 + 40.0 * vectors_ND[:, 0] + noise * generator.normal(size=rows)


def test_numbers_are_estimated_in_their_own_unit():
    test_ND, targets_N = numbers(100, "test")
    found_N1 = answers("numbers", numbers(200, "train"), numbers(100, "valid"), test_ND, labels=0)
    assert found_N1.shape == (100, 1)
    assert np.abs(found_N1[:, 0] - targets_N).mean() < 1.0


def test_the_penalty_for_numbers_comes_from_validation():
    test_ND, targets_N = numbers(200, "test", noise=300.0)
    found_N1 = answers("numbers", numbers(12, "train", noise=300.0), numbers(200, "valid", noise=300.0), test_ND, labels=0)
    assert np.square(found_N1[:, 0] - targets_N).mean() < 1.2 * targets_N.var()  # 12 noisy rows in 10 directions: only a strong one helps


@pytest.mark.parametrize(("kind", "made", "width"), [("labels", split, 3), ("names", several, 3), ("numbers", numbers, 1)])
def test_no_rows_to_answer_are_no_obstacle(kind, made, width):
    assert answers(kind, made(60, "train"), made(30, "valid"), np.empty((0, 10)), labels=3).shape == (0, width)
    assert kind in SENTENCES
