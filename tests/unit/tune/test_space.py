"""The search space: numbers in [0, 1) become values, and a wrong space says everything that is wrong with it."""

import numpy as np
import pytest

from heliostat.core.errors import UserError
from heliostat.tune.space import Dimension, completed, contradictory, parse_space

U = (np.arange(4000) + 0.5) / 4000
"""Evenly spaced numbers: what they give is the distribution itself, without sampling noise."""


def only(spec):
    return parse_space({"p": spec}).dimensions["p"]


def values(spec):
    dimension = only(spec)
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


def test_log_int_gives_every_whole_number_its_share_of_the_logarithm():
    given = np.array(values({"log_int": [1, 64]}))
    # 7 doublings of [0.5, 64.5]; whole numbers near an edge move a share of up to half a number
    shares = np.log(KNOTS[1:] / KNOTS[:-1]) / np.log(129)
    assert np.histogram(given, bins=[1, 2, 4, 8, 16, 32, 65])[0] / 4000 == pytest.approx(shares, abs=1e-3)


KNOTS = np.array([0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 64.5])


@pytest.mark.parametrize(
    ("spec", "steps"),
    [
        ({"uniform": [0, 1], "step": 0.25}, [0, 0.25, 0.5, 0.75, 1]),
        ({"uniform": [0.1, 1], "step": 0.4}, [0.1, 0.5, 0.9]),
        ({"uniform": [-0.3, 0.3], "step": 0.1}, [-0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3]),
        ({"int": [8, 50], "step": 8}, [8, 16, 24, 32, 40, 48]),
    ],
)
def test_steps_begin_at_the_low_end_and_are_equally_likely(spec, steps):
    given = values(spec)
    assert sorted(set(given)) == steps
    # one of 4000 numbers may fall on either side of each edge
    assert [given.count(step) for step in steps] == pytest.approx([4000 / len(steps)] * len(steps), abs=2)
    assert only(spec).values() == steps


SPECS = [
    {"uniform": [-1, 2]},
    {"uniform": [0.1, 1], "step": 0.4},
    {"log_uniform": [1e-6, 1]},
    {"int": [-3, 9]},
    {"int": [8, 50], "step": 8},
    {"log_int": [1, 1000]},
    {"choice": ["a", {"use": "a"}, 1, True, None, [1]]},
]


@pytest.mark.parametrize("spec", SPECS)
def test_every_value_has_a_place_that_gives_it_back(spec):
    dimension = only(spec)
    for u in (0.0, 0.1, 0.37, 0.5, 0.99, float(np.nextafter(1, 0))):
        value = dimension.at(u)
        assert dimension.holds(value)
        assert 0 <= dimension.place(value) <= 1
        again = dimension.at(dimension.place(value))
        assert again == pytest.approx(value, rel=2e-6) if isinstance(value, float) else again is value or again == value


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ({"uniform": [0, 1]}, 1.01),
        ({"uniform": [0, 1]}, True),
        ({"uniform": [0, 1]}, "0.5"),
        ({"uniform": [0, 1]}, float("nan")),
        ({"uniform": [0, 1], "step": 0.25}, 0.3),
        ({"int": [0, 9]}, 2.5),
        ({"log_int": [1, 1_000_000]}, 500_000.5),
        ({"choice": [1, 0]}, True),
    ],
)
def test_a_value_that_may_not_be_tried(spec, value):
    assert not only(spec).holds(value)


@pytest.mark.parametrize("spec", [{"int": [8, 1024]}, {"log_int": [1, 10**6]}, {"uniform": [0, 1], "step": 0.001}])
def test_examples_of_many_values_are_the_ends_the_first_ones_and_some_from_all_over(spec):
    dimension = only(spec)
    examples = dimension.examples()
    assert examples[:2] == [dimension.low, dimension.high]
    assert examples[2:4] == [dimension.nearest(dimension.low + i * (dimension.step or 1)) for i in (1, 2)]
    assert all(map(dimension.holds, examples))
    assert 25 < len(set(examples)) == len(examples) < 50
    places = np.array([dimension.place(value) for value in examples])
    assert np.histogram(places, bins=8, range=(0, 1))[0].min() >= 2
    assert only({"uniform": [0, 1]}).examples() == [0, 1]


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
    assert only({"log_uniform": ["1e-5", "3e-4"]}) == Dimension("log_uniform", 1e-5, 3e-4)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"log_unifrom": [1, 2]}, "Did you mean 'log_uniform'"),
        ({"uniform": [2, 1]}, "low < high"),
        ({"uniform": [1, 1]}, "low < high"),
        ({"uniform": [0, float("inf")]}, "finite"),
        ({"int": [1, 10**400]}, "two numbers"),
        ({"uniform": [0, float("nan")]}, "low < high"),
        ({"log_uniform": [0, 1]}, "low > 0"),
        ({"int": [1, 2.5]}, "whole numbers"),
        ({"uniform": [1, 2, 3]}, "two numbers"),
        ({"uniform": ["low", 3]}, "two numbers"),
        ({"uniform": 3}, "needs a list"),
        ({"choice": []}, "needs a list"),
        ({"uniform": [1, 2], "int": [1, 2]}, "write one of"),
        ([1, 2], "write one of"),
        ({"uniform": [1, 2], "stpe": 1}, "with step and when"),
        ({"log_int": [0, 4]}, "low > 0"),
        ({"log_uniform": [1, 4], "step": 1}, "step goes with uniform and int"),
        ({"choice": [1, 4], "step": 1}, "step is for numbers"),
        ({"int": [1, 4], "step": 0.5}, "whole number"),
        ({"uniform": [1, 4], "step": 4}, "at most 3"),
        ({"uniform": [1, 4], "when": {}}, "when is written as"),
        ({"uniform": [1, 4], "when": {"x": []}}, "when is written as"),
    ],
)
def test_a_wrong_dimension_says_what_is_wrong_and_where(spec, said):
    with pytest.raises(UserError) as caught:
        parse_space({"train.batch": spec})
    (problem,) = caught.value.problems
    assert problem.startswith("train.batch: ")
    assert said in problem


NET = {
    "net.momentum": {"uniform": [0, 1], "when": {"net": "sgd"}},
    "net": {"choice": [{"use": "sgd", "nesterov": True}, "adam"], "when": {"on": True}},
    "net.beta": {"uniform": [0, 1], "when": {"net": ["adam"], "on": [True, False]}},
    "on": {"choice": [True, False]},
}


def test_parents_come_first():
    assert list(parse_space(NET).dimensions) == ["on", "net", "net.momentum", "net.beta"]
    assert list(parse_space({"a.b": {"int": [1, 2]}, "a": {"choice": [1]}, "ab": {"choice": [1]}}).dimensions) == ["a", "a.b", "ab"]


def test_a_dimension_exists_beside_the_values_it_names():
    space = parse_space(NET)
    sgd, adam = NET["net"]["choice"]
    assert space.at([0.9, 0.1, 0.5, 0.5]) == {"on": False}
    assert space.at([0.1, 0.1, 0.5, 0.25]) == {"on": True, "net": sgd, "net.momentum": 0.5}
    assert space.at([0.1, 0.9, 0.5, 0.25]) == {"on": True, "net": adam, "net.beta": 0.25}


def test_a_whole_point_has_what_exists_and_nothing_else():
    space = parse_space(NET)
    assert space.holds({"net.beta": 0.5, "net": "adam", "on": True})
    for settings in ({"on": True}, {"on": False, "net": "adam"}, {"on": True, "net": "adam", "net.momentum": 0.5}, {"on": 1}, {"x": 1}):
        assert not space.holds(settings)


def test_settings_that_are_not_of_this_space_are_told_by_path():
    told = parse_space(NET).problems({"net.momentun": 0.5, "net.beta": 2, "on": True})
    assert [problem.split(":")[0] for problem in told] == ["net.momentun", "net.beta"]
    assert "Did you mean 'net.momentum'" in told[0]
    assert "uniform 0 to 1" in told[1]


ONE_OF = {
    "net": {"choice": ["sgd", "adam"]},
    "net.momentum": {"int": [1, 2], "when": {"net": "sgd"}},
    "net.beta": {"int": [1, 2], "when": {"net": "adam"}},
}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"a": {"int": [1, 2], "when": {"b": 1}}}, "when: searched path 'b' is not known"),
        ({"a": {"int": [1, 2], "when": {"b": 3}}, "b": {"choice": [1, 2]}}, "b never is 3. It can be: 1, 2."),
        ({"a": {"int": [1, 2], "when": {"b": 900}}, "b": {"int": [1, 800]}}, "b never is 900"),
        ({"a": {"int": [1, 2], "when": {"b": 0.5}}, "b": {"uniform": [0, 1]}}, "never exactly one value"),
        ({"a": {"int": [1, 2], "when": {"b": 1}}, "b": {"int": [1, 2], "when": {"a": 1}}}, "depends on itself, through a and b"),
        ({"a": {"choice": [1, 2], "when": {"a.b": 1}}, "a.b": {"int": [1, 2]}}, "depends on itself"),
        (ONE_OF | {"both": {"int": [1, 2], "when": {"net.momentum": 1, "net.beta": 1}}}, "both: when: it can never exist"),
        (ONE_OF | {"both": {"int": [1, 2], "when": {"net.momentum": 1, "net": "adam"}}}, "no value of net fits all that it hangs on"),
    ],
)
def test_a_wrong_condition_is_refused(spec, said):
    with pytest.raises(UserError) as caught:
        parse_space(spec)
    assert all(problem.split(": ")[1] == "when" for problem in caught.value.problems)
    assert said in caught.value.problems[0]


def test_constraints_are_parsed_with_the_space_and_their_problems_listed_at_once():
    spec = {"a": {"int": [1, 8]}, "b": {"int": [1, 8]}}
    assert parse_space(spec, ["a * b <= 8"]).allows({"a": 2, "b": 4})
    assert not parse_space(spec, ["a * b <= 8"]).allows({"a": 3, "b": 4})
    with pytest.raises(UserError) as caught:
        parse_space(spec, ["a < c", "a < b", "a <"])
    assert ["c" in caught.value.problems[0], len(caught.value.problems)] == [True, 2]


def test_parts_of_settings_that_can_be_completed():
    space = parse_space(ONE_OF | {"size": {"int": [1, 900]}, "head": {"int": [1, 2], "when": {"size": 17}}}, ["size + net.beta < 30"])
    for part in ({}, {"net.beta": 2}, {"head": 1}, {"head": 1, "net.momentum": 2}, {"size": 800, "net": "sgd"}):
        assert completed(space, part), part
    for part in ({"net.beta": 2, "net.momentum": 1}, {"net": "sgd", "net.beta": 1}, {"size": 18, "head": 1}, {"size": 800, "net": "adam"}):
        assert not completed(space, part), part
    assert completed(space, {"size": 17}, ["head", "net.beta"])
    assert not completed(space, {"size": 18}, ["head"])


@pytest.mark.parametrize(("constraints", "none"), [([], False), (["a > 0.99"], False), (["a > 0.5", "a < 0.4"], True)])
def test_constraints_that_leave_nothing_are_found(constraints, none):
    assert contradictory(parse_space({"a": {"uniform": [0, 1]}}, constraints)) is none


def test_constraints_between_values_that_cannot_be_compared_are_found():
    with pytest.raises(UserError, match="cannot be worked out for a = None"):
        contradictory(parse_space({"a": {"choice": [1, 2, 3, 4, None]}}, ["a < 3"]))


def test_every_problem_is_listed_at_once():
    with pytest.raises(UserError) as caught:
        parse_space({"a": {"uniform": [2, 1]}, "good": {"int": [1, 2]}, "b": {"nonsense": [1]}, "c": 7})
    assert [problem[0] for problem in caught.value.problems] == ["a", "b", "c"]


def test_an_empty_space_shows_how_one_is_written():
    with pytest.raises(UserError, match="log_uniform"):
        parse_space({})
