"""First points, what they leave open, and constraints on top of any sampler."""

import pytest

from heliostat.core import family
from heliostat.core.errors import RunFailed
from heliostat.tune import proposals
from heliostat.tune.proposals import Proposals
from heliostat.tune.samplers.base import Base, Proposer, Told
from heliostat.tune.space import parse_space

SPACE = parse_space(
    {
        "lr": {"log_uniform": [1e-5, 1e-1]},
        "net": {"choice": ["sgd", "adam"]},
        "net.momentum": {"uniform": [0, 1], "when": {"net": "sgd"}},
        "net.beta": {"uniform": [2, 3], "when": {"net": "adam"}},
    }
)


class Stubborn(Base):
    """The same settings for ever; it counts how often it is asked and keeps what it is told."""

    def open(self, space, trials, seed):
        return Memory()


class Memory(Proposer):
    def __init__(self):
        self.told, self.asked = [], []

    def tell(self, trial):
        self.told.append(trial)

    def suggest(self, number, rng):
        self.asked.append((number, float(rng.random())))
        return {"lr": 0.01, "net": "sgd", "net.momentum": 0.5}


def stubborn(space=SPACE, **kwargs):
    return Proposals(Stubborn(), space, 8, 3, **kwargs)


def test_the_first_trials_try_the_first_points_in_order():
    sweep = stubborn(first=[{"lr": 0.02}, {"lr": 0.03, "net.momentum": 0.25}])
    assert [sweep.settings(n) for n in range(3)] == [
        {"lr": 0.02, "net": "sgd", "net.momentum": 0.5},
        {"lr": 0.03, "net": "sgd", "net.momentum": 0.25},
        {"lr": 0.01, "net": "sgd", "net.momentum": 0.5},
    ]


@pytest.mark.parametrize(("dimension", "given", "own"), [
    ({"choice": [0.9, 1.0]}, 1, 1.0), ({"uniform": [0.5, 1.0], "step": 0.25}, 1, 1.0), ({"int": [2, 6], "step": 2}, 4.0, 4),
    ({"log_uniform": [0.1, 3]}, 1, 1.0), ({"choice": ["a", True, 1]}, True, True),
])  # fmt: skip
def test_a_first_point_is_written_as_the_space_writes_it(dimension, given, own):
    """What is made for a value bears a hash of how it is written."""
    space = parse_space({"x": dimension})
    (found,) = Proposals(Stubborn(), space, 4, 1, [{"x": given}]).first[0].values()
    assert (found, type(found)) == (own, type(own))


def test_what_exists_only_beside_a_fixed_value_is_drawn_and_what_does_not_goes():
    drawn = [stubborn_with_seed(seed).settings(0) for seed in range(20)]
    assert all(settings.keys() == {"lr", "net", "net.beta"} for settings in drawn)
    assert len({settings["net.beta"] for settings in drawn}) == 20
    assert all(2 <= settings["net.beta"] <= 3 for settings in drawn)


def stubborn_with_seed(seed):
    return Proposals(Stubborn(), SPACE, 8, seed, [{"net": "adam"}])


def test_what_a_first_point_hangs_on_is_drawn_such_that_it_exists():
    for seed in range(5):
        settings = Proposals(Stubborn(), SPACE, 8, seed, [{"net.beta": 2.5}]).settings(0)
        assert settings.keys() == {"lr", "net", "net.beta"}
        assert (settings["net"], settings["net.beta"]) == ("adam", 2.5)


def test_a_first_point_reaches_the_same_settings_again():
    assert stubborn_with_seed(4).settings(0) == stubborn_with_seed(4).settings(0)


def test_the_sampler_is_told_everything():
    sweep, trial = stubborn(), Told(0, {"lr": 0.01}, {0: 1.0}, "paused")
    sweep.tell(trial)
    assert sweep.proposer.told == [trial]


def test_a_refused_point_is_asked_for_again_with_other_random_numbers_then_drawn():
    space = parse_space({"lr": {"log_uniform": [1e-5, 1e-1]}}, ["lr > 0.05"])
    sweep = stubborn(space)
    settings = sweep.settings(2)
    assert settings["lr"] > 0.05
    assert len(set(sweep.proposer.asked)) == proposals.DRAWS
    assert stubborn(space).settings(2) == settings


def test_constraints_hold_beside_a_first_point():
    space = parse_space({"a": {"uniform": [0, 1]}, "b": {"uniform": [0, 1]}}, ["a + b < 0.6"])
    sweep = Proposals(family.build("tune.samplers", "random"), space, 1, 3, [{"a": 0.5}])
    settings = sweep.settings(0)
    assert settings["a"] == 0.5
    assert settings["b"] < 0.1


def test_constraints_that_nothing_meets_end_the_sweep_with_their_text(monkeypatch):
    monkeypatch.setattr(proposals, "RANDOM_DRAWS", 50)
    space = parse_space({"lr": {"uniform": [0, 1]}}, ["lr > 2"])
    with pytest.raises(RunFailed, match=r"lr > 2\. Loosen tune.constraints"):
        stubborn(space).settings(0)
    with pytest.raises(RunFailed, match=r"beside the first point \{'lr': 0.5\}"):
        stubborn(space, first=[{"lr": 0.5}]).settings(0)
