"""The search space: numbers in [0, 1) become values, and a wrong space says everything that is wrong with it."""

import numpy as np
import pytest

from heliostat.core.errors import UserError
from heliostat.tune.space import Dimension, parse_space

U = (np.arange(4000) + 0.5) / 4000
"""Evenly spaced numbers: what they give is the distribution itself, without sampling noise."""


def values(spec):
    dimension = parse_space({"p": spec})["p"]
    return [dimension.at(float(u)) for u in U]


def test_uniform_is_even():
    given = np.array(values({"uniform": [2, 6]}))
    assert np.histogram(given, bins=4, range=(2, 6))[0].tolist() == [1000] * 4


def test_log_uniform_is_even_in_the_exponent():
    given = np.log10(values({"log_uniform": [1e-5, 1e-1]}))
    # six significant digits move a value by up to 5e-7 of itself: at most one of a thousand crosses an edge
    assert np.histogram(given, bins=4, range=(-5, -1))[0] == pytest.approx([1000] * 4, abs=1)


def test_int_includes_both_ends_equally():
    given = values({"int": [-1, 2]})
    assert {type(v) for v in given} == {int}
    assert [given.count(v) for v in (-1, 0, 1, 2)] == [1000] * 4


def test_choice_takes_each_one_equally_and_as_it_is():
    options = [{"use": "linear"}, "cosine", None, 0.5]
    given = values({"choice": options})
    assert [given.count(option) for option in options] == [1000] * 4


@pytest.mark.parametrize("kind", ["uniform", "log_uniform", "int"])
def test_the_ends_are_never_passed_however_they_are_rounded(kind):
    low, high = (3.0, 1e6) if kind == "int" else (0.12345644, 0.98765456)
    dimension = Dimension(kind, low, high)
    for u in (0.0, 1e-12, 0.5, 1 - 1e-9, float(np.nextafter(1, 0))):
        assert low <= dimension.at(u) <= high


def test_numbers_may_be_written_as_yaml_reads_them():
    assert parse_space({"p": {"log_uniform": ["1e-5", "3e-4"]}})["p"] == Dimension("log_uniform", 1e-5, 3e-4)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"log_unifrom": [1, 2]}, "Did you mean 'log_uniform'"),
        ({"uniform": [2, 1]}, "low < high"),
        ({"uniform": [1, 1]}, "low < high"),
        ({"uniform": [0, float("inf")]}, "finite"),
        ({"uniform": [0, float("nan")]}, "low < high"),
        ({"log_uniform": [0, 1]}, "low > 0"),
        ({"int": [1, 2.5]}, "whole numbers"),
        ({"uniform": [1, 2, 3]}, "two numbers"),
        ({"uniform": ["low", 3]}, "two numbers"),
        ({"uniform": 3}, "needs a list"),
        ({"choice": []}, "needs a list"),
        ({"uniform": [1, 2], "int": [1, 2]}, "write one of"),
        ([1, 2], "write one of"),
    ],
)
def test_a_wrong_dimension_says_what_is_wrong_and_where(spec, said):
    with pytest.raises(UserError) as caught:
        parse_space({"train.batch": spec})
    (problem,) = caught.value.problems
    assert problem.startswith("train.batch: ")
    assert said in problem


def test_every_problem_is_listed_at_once():
    with pytest.raises(UserError) as caught:
        parse_space({"a": {"uniform": [2, 1]}, "good": {"int": [1, 2]}, "b": {"nonsense": [1]}, "c": 7})
    assert [problem[0] for problem in caught.value.problems] == ["a", "b", "c"]


def test_an_empty_space_shows_how_one_is_written():
    with pytest.raises(UserError, match="log_uniform"):
        parse_space({})
