"""What a sweep is expected to cost: jobs, work, time, disk, money."""

from __future__ import annotations

import time
from typing import Any

import pytest

from heliostat.tune import outlook
from heliostat.tune.config import TuneConfig
from heliostat.tune.outlook import Facts
from heliostat.tune.schedulers.base import Job

ASHA = {"use": "asha", "eta": 3, "first": 1 / 9}


def tune(trials: int = 60, scheduler: Any = ASHA, **more: Any) -> TuneConfig:
    return TuneConfig(trials=trials, scheduler=scheduler, **{"finalists": 1, **more})


def of(facts: Facts | None = None, **more: Any) -> Any:
    return outlook.expected(tune(**more), facts or Facts(), seed=7)


def test_early_stopping_saves_most_of_the_work() -> None:
    spent = of(trials=64, scheduler={"use": "asha", "eta": 4, "first": 1 / 16})
    assert spent.jobs[0] == 64
    assert spent.jobs[0] > spent.jobs[1] > spent.jobs[2] >= 1
    assert spent.trainings < 0.4 * 64


def test_plain_search_trains_every_trial_to_the_end() -> None:
    spent = of(Facts(slots=2, training_s=60.0, cost_per_hour=3.0), trials=5, scheduler="full")
    assert (spent.jobs, spent.trainings) == ((5,), 5.0)
    assert spent.wall_s == 180.0, "three rounds of two"
    assert spent.cost == pytest.approx(180 / 3600 * 3)
    assert outlook.expected_jobs(tune(trials=5, scheduler="full")) == 5


def test_what_is_not_known_is_not_guessed() -> None:
    spent = of()
    assert (spent.wall_s, spent.checkpoint_bytes, spent.cost) == (None, None, None)
    assert of(Facts(slots=2)).wall_s is None
    assert of(Facts(training_s=2.0)).wall_s is None
    assert of(Facts(slots=2, training_s=2.0)).cost is None


def test_more_slots_end_sooner_up_to_the_lag() -> None:
    def wall(slots: int, lag: int | None) -> float:
        return of(Facts(slots=slots, training_s=1.0), scheduler={**ASHA, "decision_lag": lag}).wall_s

    assert wall(1, 3) > wall(2, 3) > wall(4, 3)
    assert wall(4, 3) == wall(32, 3), "four jobs at most run side by side"
    assert wall(32, None) < wall(4, None)
    assert wall(1, 3) == pytest.approx(of(Facts(slots=1)).trainings, rel=0.02), "one slot does the work in turn"


def test_the_confirmation_of_the_finalists_counts() -> None:
    plain, seeds = of(Facts(slots=2, training_s=10.0)), of(Facts(slots=2, training_s=10.0), finalists=3, confirm={"seeds": 3})
    assert seeds.trainings == pytest.approx(plain.trainings + 9)
    assert seeds.wall_s == pytest.approx(plain.wall_s + 50), "nine trainings on two slots are five rounds"
    assert seeds.jobs == plain.jobs
    assert outlook.repetitions(tune(finalists=2, confirm={"folds": 5})) == 10


def test_checkpoints_stay_until_the_end_or_the_budget() -> None:
    facts = Facts(slots=2, state_bytes=3 * 10**9, best_bytes=10**9)
    spent = of(facts)
    most = (60 - spent.jobs[-1]) * 3 * 10**9 + 60 * 10**9
    assert most <= spent.checkpoint_bytes <= most + 9 * 10**9, "a trial at the last rung has no state, and all have a best step"
    assert of(facts, budget={"checkpoint_gb": 50}).checkpoint_bytes == 50 * 10**9
    assert of(facts, budget={"checkpoint_gb": 1}).checkpoint_bytes == (2 * 4 + 1) * 10**9, "what runs and what is kept needs room"
    assert of(facts, trials=5, scheduler="full").checkpoint_bytes == 5 * 10**9, "a training that never pauses has no state"


def test_a_budget_of_time_or_money_ends_the_sweep() -> None:
    facts = Facts(slots=2, training_s=3600.0, cost_per_hour=4.0)
    plain = of(facts, scheduler="full")
    hours, cost = of(facts, scheduler="full", budget={"hours": 3}), of(facts, scheduler="full", budget={"cost": 12})
    assert plain.jobs == (60,)
    assert hours.jobs == cost.jobs == (6,)
    assert hours.wall_s == 3 * 3600


def test_longer_trials_take_longer() -> None:
    space = {"train.epochs": {"choice": [4]}}
    found = of(Facts(slots=1, training_s=60.0, epochs=2.0), trials=5, scheduler="full", space=space, finalists=1)
    assert found.wall_s == 5 * 2 * 60.0
    assert found.trainings == 5.0, "each is a whole one, whatever its length"


def test_work_of_jobs_goes_on_from_where_a_trial_or_its_parent_is() -> None:
    rungs = (0.25, 0.5, 1.0)
    assert outlook.trainings([Job(0, 0), Job(1, 1), Job(0, 2)], rungs) == 0.25 + 0.5 + 0.75
    assert outlook.trainings([Job(0, 0), Job(1, 0), Job(1, 1, parent=0)], rungs) == 0.25 + 0.25 + 0.25


@pytest.mark.parametrize("trials", [200, 1000])
def test_it_takes_about_a_second(trials: int) -> None:
    began = time.process_time()
    of(Facts(slots=16, training_s=1.0), trials=trials)
    assert time.process_time() - began < 2.0


def test_a_scheduler_whose_trials_copy_each_other_brings_all_to_the_end() -> None:
    spent = of(Facts(state_bytes=3, best_bytes=1), trials=6, scheduler={"use": "pbt", "iterations": 4})
    assert (spent.jobs, spent.trainings) == ((6, 6, 6, 6), 6.0)
    assert spent.checkpoint_bytes == 6 * 3 * 3 + 6, "every job's state is kept for others"


def test_a_scheduler_that_takes_long_to_decide_is_simulated_on_fewer_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook, "SLOW_S", 0.0)
    spent = of(trials=480, scheduler="full")
    assert (spent.jobs, spent.trainings) == ((480,), 480.0)
    hour = of(Facts(slots=2, training_s=60.0), trials=480, scheduler="full", budget={"hours": 1})
    assert (hour.jobs, hour.wall_s) == ((120,), 3600.0), "the time is for all trials and not for those that stand for them"
