"""What every combiner promises, found by itself in the family."""

import numpy as np
import pytest

from heliostat.core import family, seeds

ROWS, LABELS = 80, 3


@pytest.fixture(params=family.names("ensemble.combiners"))
def combiner(request):
    return family.build("ensemble.combiners", request.param)


def accuracy(probs_NC, targets_N):
    return float((probs_NC.argmax(1) == targets_N).mean())


def council(members):
    """Probabilities [members, rows, labels], best member first, and targets."""
    rng = seeds.rng(members, "test", "combiners")
    targets_N = rng.integers(0, LABELS, ROWS)
    probs = np.exp(rng.normal(size=(members, ROWS, LABELS)) + 1.5 * np.eye(LABELS)[targets_N])
    probs /= probs.sum(-1, keepdims=True)
    return np.stack(sorted(probs, key=lambda p: -accuracy(p, targets_N))), targets_N


@pytest.mark.parametrize("members", [1, 2, 5])
def test_weights_are_a_share_of_one(combiner, members):
    weights_M = combiner.weights(*council(members), accuracy)
    assert weights_M.shape == (members,)
    assert (weights_M >= 0).all()
    assert weights_M.sum() == pytest.approx(1.0)


def test_the_same_predictions_give_the_same_weights(combiner):
    assert (combiner.weights(*council(5), accuracy) == combiner.weights(*council(5), accuracy)).all()


def test_inputs_are_left_as_they_were(combiner):
    probs_MNC, targets_N = council(3)
    before = probs_MNC.copy(), targets_N.copy()
    combiner.weights(probs_MNC, targets_N, accuracy)
    assert (probs_MNC == before[0]).all()
    assert (targets_N == before[1]).all()


def test_steps_name_exactly_the_members_that_weigh(combiner):
    weights_M = combiner.weights(*council(5), accuracy)
    assert set(combiner.steps(*council(5), accuracy)) == set(np.flatnonzero(weights_M).tolist())
