"""Forward selection on predictions small enough to follow by hand."""

import numpy as np
import pytest

from heliostat.core import seeds
from heliostat.core.errors import UserError
from heliostat.core.family import build
from heliostat.ensemble.combiners.greedy import Greedy

TARGETS_N = np.array([0, 0, 0, 0])


def accuracy(probs_NC, targets_N):
    return float((probs_NC.argmax(1) == targets_N).mean())


def votes(*rights):
    """Members of two labels, by the probability each gives to the right one, row by row."""
    right_MN = np.array(rights, dtype=float)
    return np.stack([right_MN, 1 - right_MN], axis=-1)


def test_two_that_complete_each_other_beat_the_best_one():
    probs_MNC = votes([0.9, 0.9, 0.9, 0.3], [0.4, 0.6, 0.6, 0.9], [0.45, 0.45, 0.45, 0.45])
    assert Greedy().weights(probs_MNC, TARGETS_N, accuracy).tolist()[2] == 0.0
    assert Greedy(rounds=1).weights(probs_MNC, TARGETS_N, accuracy).tolist() == [0.5, 0.5, 0.0]


def test_a_member_taken_twice_weighs_twice():
    # half and half would lose three rows (0.45); two to one keeps them (0.53) and wins the fourth
    probs_MNC = votes([0.7, 0.7, 0.7, 0.38], [0.2, 0.2, 0.2, 0.80])
    greedy = Greedy(start=2, rounds=1)
    assert greedy.steps(probs_MNC, TARGETS_N, accuracy) == [0, 1, 0]
    assert greedy.weights(probs_MNC, TARGETS_N, accuracy).tolist() == pytest.approx([2 / 3, 1 / 3])


def test_it_stops_when_nothing_helps():
    probs_MNC = votes([0.9, 0.9, 0.9, 0.9], [0.8, 0.8, 0.8, 0.8], [0.1, 0.1, 0.1, 0.1])
    assert Greedy().steps(probs_MNC, TARGETS_N, accuracy) == [0]


def test_equal_scores_are_settled_by_log_loss_then_by_the_better_member():
    loud, quiet = [0.9, 0.9, 0.9, 0.9], [0.6, 0.6, 0.6, 0.6]
    assert Greedy(rounds=1).steps(votes(quiet, loud), TARGETS_N, accuracy)[0] == 1
    assert Greedy(rounds=1).steps(votes(loud, loud), TARGETS_N, accuracy) == [0]


def test_the_log_loss_goes_on_improving_an_equal_score():
    probs_MNC = votes([0.9, 0.9, 0.55, 0.55], [0.55, 0.55, 0.9, 0.9])
    assert Greedy().weights(probs_MNC, TARGETS_N, accuracy).tolist() == [0.5, 0.5]


def test_start_takes_the_best_ones_in_and_never_more_than_there_are():
    probs_MNC = votes([0.9, 0.9, 0.9, 0.3], [0.9, 0.9, 0.3, 0.3], [0.9, 0.3, 0.3, 0.3])
    assert Greedy(start=2, rounds=1).steps(probs_MNC, TARGETS_N, accuracy)[:2] == [0, 1]
    assert sorted(Greedy(start=9, rounds=1).steps(probs_MNC, TARGETS_N, accuracy)[:3]) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_never_worse_on_validation_than_the_best_member(seed):
    rng = seeds.rng(seed, "test", "greedy")
    targets_N = rng.integers(0, 4, 100)
    probs_MNC = np.exp(rng.normal(size=(6, 100, 4)) + np.eye(4)[targets_N])
    probs_MNC /= probs_MNC.sum(-1, keepdims=True)
    mean_NC = np.tensordot(Greedy().weights(probs_MNC, targets_N, accuracy), probs_MNC, axes=1)
    assert accuracy(mean_NC, targets_N) >= max(accuracy(p, targets_N) for p in probs_MNC)


def test_rounds_must_be_a_positive_number():
    with pytest.raises(UserError, match=r"rounds.*greater than or equal to 1.*0"):
        build("ensemble.combiners", {"use": "greedy", "rounds": 0})
