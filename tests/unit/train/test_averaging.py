"""The moving average of weights: its formula, its place in a training, and that it goes on from a checkpoint."""

import numpy as np
import pytest
import torch
from tests.unit.train.test_session import TOTAL, assert_same, fields, reached

from heliostat.engine import checkpoints
from heliostat.train.averaging import Average
from heliostat.train.orders import Train
from heliostat.train.stopping import EarlyStopping


def test_it_is_the_weighted_sum_of_the_weights_so_far():
    module = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(1.0)
    average, mean = Average(module, 0.5), 1.0
    for updates, value in enumerate([2.0, 5.0, -1.0, 3.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0]):
        with torch.no_grad():
            module.weight.fill_(value)
        average.add()
        decay = min(0.5, (1 + updates) / (10 + updates))
        mean = decay * mean + (1 - decay) * value
    with average.in_place():
        assert module.weight.tolist() == [pytest.approx([mean, mean], rel=1e-6)]  # float32
    assert module.weight.tolist() == [[8.0, 8.0]]


def test_what_is_frozen_is_not_averaged():
    module = torch.nn.Linear(2, 1)
    module.bias.requires_grad_(False)
    assert set(Average(module, 0.9).state()) == {"average.weight"}


def test_the_averaged_weights_are_the_ones_that_are_validated_and_kept(ground, worker, tmp_path):
    for name, ema in (("with", 0.9), ("without", None)):
        Train(**fields(ground, tmp_path / name, ema=ema), until=TOTAL).perform(worker())
    smooth, rough = (reached(tmp_path / name) for name in ("with", "without"))
    assert smooth[0]["curve"][0]["loss"] == rough[0]["curve"][0]["loss"]  # the updates themselves are the same
    assert smooth[0]["curve"][-1]["loss"] == rough[0]["curve"][-1]["loss"]
    assert smooth[0]["curve"][0]["value"] != rough[0]["curve"][0]["value"]
    best = smooth[0]["best"]["step"]
    if best == rough[0]["best"]["step"]:
        assert any(not torch.equal(smooth[1][key], rough[1][key]) for key in rough[1])


def test_an_averaged_training_goes_on_from_disk_as_if_nothing_had_happened(ground, worker, tmp_path):
    given = {"ema": 0.8}
    Train(**fields(ground, tmp_path / "whole", **given), until=TOTAL).perform(worker())
    for until in (4, TOTAL):
        Train(**fields(ground, tmp_path / "parts", **given), until=until).perform(worker())
    assert_same(reached(tmp_path / "parts"), reached(tmp_path / "whole"))


def test_early_stopping_ends_a_training_once_and_for_all(ground, worker, tmp_path):
    given = fields(ground, tmp_path / "stopped", optimizer={"use": "sgd", "lr": 1e-9}, early_stopping={"patience": 2, "least_gain": 0.1})
    gang = worker()
    first = Train(**given, until=TOTAL).perform(gang)
    assert first["over"]
    assert [point["step"] for point in first["curve"]] == [2, 4, 6]  # the first counts as better, the next two do not
    assert checkpoints.latest(tmp_path / "stopped" / "latest") is not None
    assert Train(**given, until=TOTAL).perform(worker()) == first  # also in another process


@pytest.mark.parametrize(("merits", "over"), [
    ([], False), ([1.0], False), ([1.0, 1.0, 1.0], True), ([1.0, 1.0, 1.06, 1.06, 1.2], False), ([1.0, 0.5, 1.04], True),
    ([-np.inf, -np.inf], True), ([1.0, 1.0, 1.0, 3.0], False),
])  # fmt: skip
def test_patience_counts_validations_without_enough_gain(merits, over):
    assert EarlyStopping(patience=2, least_gain=0.05).is_over(merits) is over
