"""What every sampler promises, found by itself in the family."""

import warnings

import numpy as np
import pytest

from heliostat.core import family
from heliostat.tune.space import parse_space

ONE = parse_space({"a": {"uniform": [-1, 3]}})
SIX = parse_space(
    {
        "a": {"uniform": [-1, 3]},
        "b": {"log_uniform": [1e-6, 1e-2]},
        "c": {"int": [2, 9]},
        "d": {"choice": ["x", "y", "z"]},
        "e": {"uniform": [0, 1e-3]},
        "f": {"choice": [True, False]},
    }
)


@pytest.fixture(params=family.names("tune.samplers"))
def sampler(request):
    return family.build("tune.samplers", request.param)


@pytest.mark.parametrize("dimensions", [ONE, SIX], ids=["one", "six"])
def test_the_same_arguments_give_the_same_settings_in_any_order(sampler, dimensions):
    """A resumed sweep asks for trial 5 without having asked for those before it."""
    forward = [sampler.suggest(number, dimensions, 7) for number in range(9)]
    again = family.build("tune.samplers", sampler.name())
    assert [again.suggest(number, dimensions, 7) for number in reversed(range(9))] == forward[::-1]


@pytest.mark.parametrize("dimensions", [ONE, SIX], ids=["one", "six"])
def test_every_path_gets_a_value_inside_its_bounds(sampler, dimensions):
    for number in range(40):
        settings = sampler.suggest(number, dimensions, 3)
        assert settings.keys() == dimensions.keys()
        for path, value in settings.items():
            dimension = dimensions[path]
            assert value in dimension.choices if dimension.kind == "choice" else dimension.low <= value <= dimension.high


@pytest.mark.parametrize("dimensions", [ONE, SIX], ids=["one", "six"])
def test_trials_and_seeds_differ(sampler, dimensions):
    proposals = {tuple(sampler.suggest(number, dimensions, seed).values()) for seed in (1, 2) for number in range(16)}
    assert len(proposals) == 32


def test_the_dimensions_vary_independently(sampler):
    points = np.array([[sampler.suggest(n, SIX, 5)[path] for path in ("a", "e")] for n in range(128)])
    # for 128 independent points the correlation has standard deviation 0.09
    assert abs(np.corrcoef(points.T)[0, 1]) < 0.36


def test_the_whole_range_is_tried(sampler):
    drawn = [sampler.suggest(number, ONE, 5)["a"] for number in range(64)]
    # a quarter of the range stays empty with probability (3/4)^64, about 1e-8
    assert (np.histogram(drawn, bins=4, range=(-1, 3))[0] > 0).all()


def test_nothing_is_warned_of(sampler):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for number in range(20):
            sampler.suggest(number, SIX, 7)
    assert warned == []
