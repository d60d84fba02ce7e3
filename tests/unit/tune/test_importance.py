"""Which settings mattered, on sweeps whose answer is known."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from heliostat.artifacts import Trial
from heliostat.core import seeds
from heliostat.tune.importance import importance
from heliostat.tune.space import parse_space

SPACE = parse_space(
    {
        "train.optimizer": {"choice": [{"use": "adamw"}, {"use": "sgd"}]},
        "train.optimizer.lr": {"log_uniform": [1e-6, 1e-2]},
        "train.optimizer.momentum": {"uniform": [0, 1], "when": {"train.optimizer": "sgd"}},
        "train.batch": {"int": [1, 64]},
        "train.clip": {"choice": [None, 1.0]},
    }
)
LR, MOMENTUM = "train.optimizer.lr", "train.optimizer.momentum"


def trial(number: int, settings: dict[str, Any], value: float | None, state: Any = "completed") -> Trial:
    best = None if value is None else value
    return Trial(number=number, settings=settings, state=state, rung=1, best=best, best_step=1, curve=(), busy_s=1.0, value=value)


def sweep(count: int, score: Any, seed: int = 5) -> list[Trial]:
    rng = np.random.Generator(np.random.PCG64(seed))
    tried = [SPACE.at(rng.random(len(SPACE.dimensions))) for _ in range(count)]
    return [trial(i, settings, score(settings)) for i, settings in enumerate(tried)]


def by_rate(settings: dict[str, Any]) -> float:
    return -((np.log10(settings[LR]) + 4) ** 2)


def test_what_decides_comes_first_and_shares_sum_to_one() -> None:
    found = importance(sweep(80, by_rate), SPACE)
    assert next(iter(found)) == LR
    assert found[LR] > 0.6
    assert sum(found.values()) == pytest.approx(1)
    assert set(found) == set(SPACE.dimensions)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_the_same_trials_give_the_same_answer() -> None:
    assert importance(sweep(40, by_rate), SPACE) == importance(sweep(40, by_rate), SPACE)


def test_a_dimension_that_exists_in_some_trials_counts_where_it_is() -> None:
    def score(settings: dict[str, Any]) -> float:
        return 3 * settings[MOMENTUM] if MOMENTUM in settings else 0.0

    found = importance(sweep(120, score), SPACE)
    assert set(list(found)[:2]) == {MOMENTUM, "train.optimizer"}
    assert found[MOMENTUM] > 2 * found["train.batch"]


def test_chance_decides_nothing() -> None:
    """At most one setting in twenty is above what chance shows."""
    rng = seeds.rng(1, "chance")
    said = [importance(sweep(24, lambda settings: float(rng.random()), seed), SPACE) for seed in range(8)]
    assert said.count({}) >= 6
    clear = [importance(sweep(24, by_rate, seed), SPACE) for seed in range(8)]
    assert sum(next(iter(found), None) == LR for found in clear) >= 6


def test_few_or_equal_trials_say_nothing() -> None:
    assert importance(sweep(19, by_rate), SPACE) == {}
    assert importance(sweep(30, lambda settings: 0.5), SPACE) == {}
    assert importance([], SPACE) == {}


def test_a_constant_setting_has_no_share() -> None:
    trials = [trial(t.number, {**t.settings, "train.batch": 8}, t.value) for t in sweep(30, by_rate)]
    assert importance(trials, SPACE)["train.batch"] == 0.0


def test_failures_count_as_the_worst_and_running_trials_not_at_all() -> None:
    good = sweep(80, lambda settings: 0.5 + settings["train.batch"] * 1e-9)
    high = [t for t in good if t.settings[LR] > 1e-4]
    failed = [trial(t.number, t.settings, None, "failed") if t in high else t for t in good]
    assert importance(failed, SPACE)[LR] > 0.3
    waiting = [trial(100 + i, good[i].settings, None, "stopped") for i in range(5)]
    assert importance([*good, *waiting], SPACE) == importance(good, SPACE)


def test_thousands_of_trials_take_seconds() -> None:
    trials = sweep(2000, by_rate)
    began = time.perf_counter()
    assert importance(trials, SPACE)[LR] > 0.5
    assert time.perf_counter() - began < 20
