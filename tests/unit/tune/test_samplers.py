"""What each sampler finds, on functions whose best point is known; and the arithmetic inside."""

import math
from dataclasses import replace

import numpy as np
import pytest

from heliostat.core import family
from heliostat.tune.proposals import Proposals
from heliostat.tune.samplers import gaussian_process, grid
from heliostat.tune.samplers.base import Told
from heliostat.tune.space import parse_space

LR = {"log_uniform": [1e-6, 1e-1]}
SPACE = parse_space({"lr": LR, "net": {"choice": ["x", "y", "z"]}})
NUMBERS = parse_space({"lr": LR, "decay": {"uniform": [0, 1]}, "batch": {"int": [1, 32]}})


def value(settings):
    """Best, 0, at lr 1e-3, net x, decay 0.3, batch 8."""
    decay, batch = settings.get("decay", 0.3), settings.get("batch", 8)
    lost = {"x": 0.0, "y": 0.5, "z": 1.0}[settings.get("net", "x")]
    return -((math.log10(settings["lr"]) + 3) ** 2) - lost - 4 * (decay - 0.3) ** 2 - ((batch - 8) / 16) ** 2


def best(sampler, space, trials, seed, lag=2, rungs=1):
    """The best value of a sweep whose results come `lag` trials late; with two rungs the better half goes on."""
    sweep, late, found = Proposals(family.build("tune.samplers", sampler), space, trials, seed), [], []
    for number in range(trials):
        settings = sweep.settings(number)
        found.append(value(settings))
        sweep.tell(Told(number, settings, {}, "running"))
        late.append((number, settings))
        if len(late) > lag:
            at, settings = late.pop(0)
            early = {0: found[at] - 1}
            sweep.tell(Told(at, settings, early if rungs > 1 else {0: found[at]}, "paused" if rungs > 1 else "completed"))
            if rungs > 1 and found[at] >= np.median(found):
                sweep.tell(Told(at, settings, {**early, 1: found[at]}, "completed"))
    return max(found)


@pytest.mark.parametrize(
    ("sampler", "space", "trials", "rungs"),
    [
        ("tpe", SPACE, 30, 1),
        ("tpe", SPACE, 30, 2),
        ("bohb", SPACE, 30, 2),
        ("bohb", NUMBERS, 50, 1),
        ("cmaes", NUMBERS, 50, 1),
        ("cmaes", NUMBERS, 50, 2),
        ({"use": "gaussian_process", "startup": 5}, SPACE, 9, 1),
    ],
)
def test_a_model_beats_random_search(sampler, space, trials, rungs):
    """Ten pairs of sweeps: better in six of them at least, which chance gives with probability 0.38, and a quarter of the mean distance
    from the best saved, which asks more; both together leave room for unlucky seeds."""
    found = np.array([[best(kind, space, trials, seed, rungs=rungs) for kind in (sampler, "random")] for seed in range(10)])
    assert (found[:, 0] > found[:, 1]).sum() >= 6
    assert found[:, 0].mean() > found[:, 1].mean() * 0.75


def test_a_failed_region_is_left():
    """Half of the range fails: a sampler that ignored failures would go on trying it in half of its trials."""
    space = parse_space({"a": {"uniform": [0, 1]}})
    for sampler in ("tpe", "bohb"):
        sweep, drawn = Proposals(family.build("tune.samplers", sampler), space, 60, 1), []
        for number in range(60):
            settings = sweep.settings(number)
            drawn.append(settings["a"])
            failed = settings["a"] > 0.5
            sweep.tell(Told(number, settings, {}, "running"))
            sweep.tell(Told(number, settings, {} if failed else {0: -abs(settings["a"] - 0.25)}, "failed" if failed else "completed"))
        # bohb draws a third at random, so that a sixth of the last 40 is to be expected there, 7 with standard deviation 2.4
        assert sum(a > 0.5 for a in drawn[20:]) < 14


def test_an_older_sweep_is_learnt_from():
    for sampler in ("tpe", "bohb", "cmaes"):
        proposer, rng = family.build("tune.samplers", sampler).open(NUMBERS, 9, 1), np.random.default_rng(1)
        for number in range(-60, 0):
            settings = NUMBERS.at(rng.random(3))
            proposer.tell(Told(number, settings, {0: value(settings)}, "completed"))
        drawn = [abs(math.log10(proposer.suggest(0, rng)["lr"]) + 3) for _ in range(40)]
        # uniform in five decades the mean distance from the best would be 1.3
        assert np.mean(drawn) < 1.0


class TestGrid:
    SPACE = parse_space(
        {
            "lr": {"log_uniform": [1e-4, 1e-1]},
            "net": {"choice": ["x", "y"]},
            "net.depth": {"int": [1, 2], "when": {"net": "y"}},
            "wide": {"uniform": [0, 1], "step": 0.5},
        },
        ["wide < 1 or net == 'x'"],
    )

    def tried(self, sampler, space, trials, first=()):
        assert sampler.problems(space, trials) == []
        sweep, out = Proposals(sampler, space, trials, 3, first), []
        for number in range(trials):
            out.append(sweep.settings(number))
            sweep.tell(Told(number, out[-1], {}, "running"))
        return out

    def test_every_combination_is_tried_once(self):
        tried = self.tried(grid.Grid(), self.SPACE, 4 * (3 + 2 * 2))
        assert len({tuple(settings.items()) for settings in tried}) == 28
        assert sorted({settings["lr"] for settings in tried}) == [1e-4, 1e-3, 1e-2, 1e-1]
        assert all(("net.depth" in settings) == (settings["net"] == "y") for settings in tried)
        assert all(map(self.SPACE.allows, tried))

    def test_what_a_first_point_tried_is_not_tried_again(self):
        first = {"lr": 1e-3, "net": "x", "wide": 0.5}
        tried = self.tried(grid.Grid(), self.SPACE, 28, [first])
        assert tried[0] == first
        assert tried.count(first) == 1
        assert len({tuple(settings.items()) for settings in tried}) == 28

    def test_a_larger_sweep_is_refused_with_the_size_of_the_grid(self):
        (problem,) = grid.Grid().problems(self.SPACE, 29)
        assert "28 points (36, of which the constraints allow 28)" in problem
        assert "Lower trials to 28" in problem

    def test_a_grid_without_end_is_refused(self):
        space = parse_space({str(i): {"uniform": [0, 1]} for i in range(9)})
        assert "more than 100,000 points" in grid.Grid().problems(space, 8)[0]

    @pytest.mark.parametrize(
        ("spec", "values"),
        [
            ({"uniform": [0, 3]}, [0, 1, 2, 3]),
            ({"log_int": [1, 64]}, [1, 4, 16, 64]),
            ({"int": [1, 3]}, [1, 2, 3]),
            ({"int": [1, 100]}, [1, 34, 67, 100]),
            ({"int": [1, 6], "step": 1}, [1, 2, 3, 4, 5, 6]),
            ({"choice": ["b", "a", "b", True, 1]}, ["b", "a", True, 1]),
        ],
    )
    def test_values_of_a_dimension(self, spec, values):
        assert grid.taken(parse_space({"p": spec}).dimensions["p"], 4) == values


def test_cmaes_ranks_trials_of_different_brackets_by_how_often_they_went_on():
    evolution = family.build("tune.samplers", {"use": "cmaes", "population": 4}).open(NUMBERS, 8, 1)
    rung_0 = {0: {0: 0.9, 1: 0.3}, 1: {0: 0.8}, 2: {0: 0.1}}
    rung_1 = {3: {1: 0.2}, 4: {1: 0.95}}
    trials = {n: Told(n, NUMBERS.at([0.1 * n] * len(NUMBERS.dimensions)), values, "paused") for n, values in (rung_0 | rung_1).items()}
    for trial in trials.values():
        for rung in trial.values:
            evolution._see(replace(trial, values={r: v for r, v in trial.values.items() if r <= rung}))
    assert [trial.number for trial in evolution._ranked(trials)] == [0, 4, 1, 2, 3]


@pytest.mark.parametrize(
    ("space", "said"),
    [({"a": {"choice": [1, 2]}}, "only choices"), ({"a": {"choice": [1, 2]}, "b": {"int": [1, 2], "when": {"a": 1}}}, "other values: b.")],
)
def test_cmaes_says_what_it_cannot_search(space, said):
    (problem,) = family.build("tune.samplers", "cmaes").problems(parse_space(space), 8)
    assert said in problem


def test_values_are_levelled_by_the_gain_of_those_that_went_on():
    trials = [
        Told(0, {}, {0: 0.5, 1: 0.7}, "completed"),
        Told(1, {}, {0: 0.4, 1: 0.7}, "completed"),
        Told(2, {}, {0: 0.3}, "paused"),
        Told(3, {}, {1: 0.6}, "paused"),
        Told(4, {}, {0: 0.9}, "failed"),
    ]
    # those that went on gained 0.2 and 0.3; the failed one counts as the worst, whatever it gave before
    assert gaussian_process.levelled(trials) == pytest.approx({0: 0.7, 1: 0.7, 2: 0.55, 3: 0.6, 4: 0.55})


def test_one_wreck_does_not_flatten_the_rest():
    values = gaussian_process.levelled([Told(n, {}, {0: v}, "completed") for n, v in enumerate([0.5, 0.6, 0.7, -1e9])])
    # the median is 0.55, the best 0.15 above it, and four times as far below is -0.05
    assert values[3] == pytest.approx(-0.05)
