"""What every sampler promises, found by itself in the family."""

import functools
import warnings

import numpy as np
import pytest

from heliostat.core import family, seeds
from heliostat.tune.proposals import Proposals
from heliostat.tune.samplers.base import Told
from heliostat.tune.space import parse_space

SPACES = {
    "one": parse_space({"a": {"uniform": [-1, 3]}}),
    "six": parse_space(
        {
            "a": {"uniform": [-1, 3]},
            "b": {"log_uniform": [1e-6, 1e-2]},
            "c": {"int": [2, 9]},
            "d": {"choice": ["x", {"use": "y", "depth": 2}, [1, 2], None]},
            "e": {"uniform": [0, 1e-3]},
            "f": {"choice": [True, False]},
        }
    ),
    "quantised": parse_space(
        {"a": {"uniform": [0, 1], "step": 0.3}, "b": {"int": [8, 50], "step": 8}, "c": {"log_int": [1, 1000]}, "d": {"choice": [7]}}
    ),
    "conditional": parse_space(
        {
            "net.momentum": {"uniform": [0, 1], "when": {"net": "sgd"}},
            "net": {"choice": [{"use": "sgd"}, {"use": "adam"}]},
            "net.beta": {"log_uniform": [0.01, 1], "when": {"net": "adam"}},
            "net.warm": {"int": [1, 40], "when": {"net": "adam", "kind": ["a", "b"]}},
            "kind": {"choice": ["a", "b", "c"]},
        }
    ),
    "constrained": parse_space({"a": {"uniform": [0, 1]}, "b": {"int": [1, 8]}}, ["a * b < 2", "a > 0.1"]),
}
TRIALS = 12
"""A few more than the models need to begin, with the older trials; each proposal of a model takes up to a second."""


@pytest.fixture(params=family.names("tune.samplers"))
def name(request):
    return request.param


@pytest.fixture(params=SPACES)
def space_name(request):
    return request.param


def opened(name, space, trials=TRIALS, seed=7):
    sampler = family.build("tune.samplers", name)
    if problems := sampler.problems(space, trials):
        assert all(problem.endswith(".") for problem in problems)
        pytest.skip(problems[0])
    return sampler.open(space, trials, seed)


def draw(proposer, number, seed=7, attempt=0):
    return proposer.suggest(number, seeds.rng(seed, "test", number, attempt))


OLDER = [Told(-9, {"a": 0.25, "b": 99}, {0: 0.3}, "completed"), Told(-8, {}, {}, "failed"), Told(-7, {"z": 1}, {1: 2.0}, "paused")]
"""Trials of a sweep that searched elsewhere."""


@functools.cache
def played(name, space_name, seed=7):
    """Two sweeps' calls in order: ("suggest", number, settings) and ("tell", Told); two trials run side by side, one in five fails."""
    space = SPACES[space_name]
    proposer, calls, late = opened(name, space, seed=seed), [], []

    def tell(told):
        calls.append(("tell", told))
        proposer.tell(told)

    older = [Told(n, space.at(seeds.rng(1, "older", n).random(len(space.dimensions))), {0: float(n)}, "paused") for n in (-3, -2)]
    for told in [*OLDER, *older]:
        tell(told)
    for number in range(TRIALS):
        settings = draw(proposer, number, seed)
        calls.append(("suggest", number, settings))
        tell(Told(number, settings, {}, "running"))
        late.append((number, settings, float(seeds.rng(seed, "value", number).random())))
        if len(late) > 1:
            at, settings, value = late.pop(0)
            tell(Told(at, settings, {}, "failed") if at % 5 == 4 else Told(at, settings, {0: value}, "paused"))
            if at % 3 == 0:
                tell(Told(at, settings, {0: value}, "running"))
                tell(Told(at, settings, {0: value, 1: value + 1}, "completed"))
    return calls


def proposals(name, space_name, seed=7):
    return [call[2] for call in played(name, space_name, seed) if call[0] == "suggest"]


def test_every_dimension_that_exists_gets_a_value_that_may_be_tried(name, space_name):
    space = SPACES[space_name]
    for settings in proposals(name, space_name):
        assert space.holds(settings)
        assert space.problems(settings) == []
        assert list(settings) == [path for path in space.dimensions if path in settings]


def test_a_sweep_killed_anywhere_goes_on_as_if_it_had_not_been(name, space_name):
    """The calls before are repeated from the ledger, where nobody asks the sampler again."""
    calls = played(name, space_name)
    for k, call in enumerate(calls):
        if call[0] == "suggest" and call[1] in (0, 1, 5, 8, TRIALS - 1):
            again = opened(name, SPACES[space_name])
            for told in calls[:k]:
                if told[0] == "tell":
                    again.tell(told[1])
            assert draw(again, call[1]) == call[2]


def test_an_answer_leaves_no_trace_when_it_is_not_taken(name, space_name):
    """A constraint refused it, or another process of the same sweep asked."""
    first, second = (opened(name, SPACES[space_name]) for _ in range(2))
    for number in range(4):
        for attempt in range(1, number + 1):
            draw(first, number, attempt=attempt)
    told = Told(0, draw(second, 0), {}, "running")
    first.tell(told)
    second.tell(told)
    assert draw(first, 5) == draw(second, 5)


def test_trials_and_seeds_differ():
    for name in family.names("tune.samplers"):
        one, other = (proposals(name, "six", seed) for seed in (7, 8))
        assert all(a != b for i, a in enumerate(one) for b in one[:i])
        assert one != other


def test_without_results_the_dimensions_vary_independently(name):
    space = SPACES["six"]
    proposer, points = opened(name, space, 128), []
    for number in range(128):
        settings = draw(proposer, number)
        proposer.tell(Told(number, settings, {}, "running"))
        points.append([settings["a"], settings["e"]])
    # for 128 independent points the correlation has standard deviation 0.09
    assert abs(np.corrcoef(np.array(points).T)[0, 1]) < 0.36


def test_without_results_the_whole_range_is_tried(name):
    space = SPACES["six"]
    proposer, drawn = opened(name, space, 64), []
    for number in range(64):
        settings = draw(proposer, number)
        proposer.tell(Told(number, settings, {}, "running"))
        drawn.append(settings["a"])
    # the least likely quarter of any member has a share above 0.15; it stays empty with probability 0.85^64, about 3e-5
    assert (np.histogram(drawn, bins=4, range=(-1, 3))[0] > 0).all()


def test_constraints_hold(name):
    space = SPACES["constrained"]
    sampler = family.build("tune.samplers", name)
    trials = 12
    if sampler.problems(space, trials):
        trials = 4
    sweep = Proposals(sampler, space, trials, 3)
    for number in range(trials):
        settings = sweep.settings(number)
        assert space.allows(settings)
        sweep.tell(Told(number, settings, {}, "running"))
        sweep.tell(Told(number, settings, {0: settings["a"]}, "completed"))


@pytest.mark.parametrize("space_name", ["six", "conditional"])
def test_a_sweep_whose_trials_all_fail_goes_on(name, space_name):
    space = SPACES[space_name]
    proposer = opened(name, space)
    for number in range(TRIALS):
        settings = draw(proposer, number)
        proposer.tell(Told(number, settings, {}, "running"))
        proposer.tell(Told(number, settings, {}, "failed"))
    assert space.holds(draw(proposer, TRIALS))


def test_equal_values_are_no_trouble(name):
    proposer = opened(name, SPACES["six"])
    for number in range(TRIALS):
        settings = draw(proposer, number)
        proposer.tell(Told(number, settings, {}, "running"))
        proposer.tell(Told(number, settings, {0: 0.5}, "completed"))
    assert SPACES["six"].holds(draw(proposer, TRIALS))


def test_nothing_is_warned_of_or_written(name, capfd):
    played.cache_clear()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        played(name, "six")
    assert [str(w.message) for w in warned] == []
    assert capfd.readouterr() == ("", "")
