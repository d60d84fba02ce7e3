"""Successive halving: who is promoted, and when."""

import pytest

from heliostat.core import family, seeds
from heliostat.core.errors import UserError
from heliostat.tune.schedulers.asha import Asha, promotable
from heliostat.tune.schedulers.base import Job, Result


def results(*values, rung=0):
    return [Result(trial, rung, value) for trial, value in enumerate(values)]


@pytest.mark.parametrize(
    ("eta", "first", "rungs"),
    [
        (2, 0.25, (0.25, 0.5, 1.0)),
        (3, 1 / 9, (1 / 9, 1 / 3, 1.0)),
        (2, 0.3, (0.3, 0.6, 1.0)),
        (10, 0.1, (0.1, 1.0)),
        (2, 1.0, (1.0,)),
    ],
)
def test_rungs_rise_by_eta_and_end_with_a_full_training(eta, first, rungs):
    assert Asha(eta=eta, first=first).rungs() == pytest.approx(rungs, abs=1e-12)  # products of floats


def test_a_first_rung_that_leaves_no_second_is_refused_with_the_largest_that_does():
    with pytest.raises(UserError, match=r"0\.6.*Use at most 0\.333333, or 1"):
        family.build("tune.schedulers", {"use": "asha", "eta": 3, "first": 0.6})


@pytest.mark.parametrize("wrong", [{"eta": 1}, {"first": 0}, {"first": 1.5}, {"decision_lag": -1}])
def test_values_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        family.build("tune.schedulers", {"use": "asha", **wrong})


@pytest.mark.parametrize(
    ("seen", "eta", "chosen"), [((0.3, 0.9, 0.1, 0.5), 2, [1, 3]), ((0.3, 0.9, 0.1, 0.5), 4, [1]), ((0.3, 0.9, 0.1), 4, [])]
)
def test_the_best_of_a_rung_go_on_and_no_others(seen, eta, chosen):
    taken, gone = set(), []
    while (trial := promotable(results(*seen), 0, eta, taken)) is not None:
        taken.add((trial, 1))
        gone.append(trial)
    assert gone == chosen


def test_what_is_not_a_number_counts_in_its_rung_and_never_goes_on():
    assert promotable(results(None, 0.1, None, None), 0, 2, set()) == 1
    assert promotable(results(None, 0.1, None, None), 0, 2, {(1, 1)}) is None
    assert promotable(results(None, None, None, None), 0, 2, set()) is None


def test_ties_go_to_the_lower_number():
    assert promotable([Result(3, 0, 0.5), Result(1, 0, 0.5), Result(2, 0, 0.5), Result(0, 0, 0.1)], 0, 4, set()) == 1


def test_a_higher_rung_comes_before_a_lower_one_and_both_before_a_new_trial():
    seen = [*results(0.6, 0.5, 0.4, 0.3, 0.2, 0.1), Result(0, 1, 0.6), Result(1, 1, 0.5)]
    issued = [Job(r.trial, r.rung) for r in seen]
    scheduler, given = Asha(first=0.25, eta=2), []
    for _ in range(4):
        given.append(scheduler.next_job(issued + given, seen, trials=9))
    assert given == [Job(0, 2), Job(2, 1), Job(6, 0), Job(7, 0)]


def test_never_more_than_one_in_eta_of_what_was_seen_goes_on():
    """When the best come first nobody is promoted by mistake, and the bound is exact."""
    scheduler = Asha(eta=3, first=1 / 9)
    issued, seen = [], []
    while (job := scheduler.next_job(issued, seen, 100)) is not None:
        issued.append(job)
        seen.append(Result(job.trial, job.rung, -float(job.trial)))
        for rung in (1, 2):
            assert sum(j.rung == rung for j in issued) <= sum(r.rung == rung - 1 for r in seen) // 3
    assert [sum(j.rung == rung for j in issued) for rung in range(3)] == [100, 33, 11]


def test_a_sweep_finds_the_best_trial_of_a_noisy_field():
    """Later rungs are nearer to the truth; the trial that is truly best by far must reach the last one."""
    for seed in range(20):
        rng = seeds.rng(seed, "test", "field")
        truth = rng.random(32)
        truth[rng.integers(32)] = 2.0
        scheduler, issued, seen = Asha(), [], []
        while (job := scheduler.next_job(issued, seen, 32)) is not None:
            issued.append(job)
            seen.append(Result(job.trial, job.rung, float(truth[job.trial] + 0.1 * rng.normal() / (job.rung + 1))))
        assert Job(int(truth.argmax()), 2) in issued
