"""Logistic regression on frozen embeddings: sound probabilities, whatever the split holds."""

import numpy as np
import pytest

from heliostat.core.seeds import rng
from heliostat.evaluate.baseline import log_probabilities, spaced


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
