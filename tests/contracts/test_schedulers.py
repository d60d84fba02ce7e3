"""What every scheduler promises, found by itself in the family."""

from itertools import pairwise

import pytest

from heliostat.core import family, seeds
from heliostat.tune.schedulers.base import Job, Result


@pytest.fixture(params=family.names("tune.schedulers"))
def scheduler(request):
    return family.build("tune.schedulers", request.param)


def run(scheduler, trials, value):
    """Every job, each seen before the next is asked for; `value(job)` is what it gives."""
    issued, seen = [], []
    limit = trials * len(scheduler.rungs())
    while (job := scheduler.next_job(list(issued), list(seen), trials)) is not None:
        assert len(issued) < limit, "more jobs than trials have rungs"
        issued.append(job)
        seen.append(Result(job.trial, job.rung, value(job)))
    return issued


def noisy(job):
    rng = seeds.rng(1, "test", job.trial, job.rung)
    return None if rng.random() < 0.25 else float(rng.random())


VALUES = {
    "rising": lambda job: float(job.trial),
    "falling": lambda job: -float(job.trial),
    "equal": lambda job: 0.5,
    "nan": lambda job: None,
    "noisy": noisy,
}


def test_rungs_rise_and_end_with_a_full_training(scheduler):
    rungs = scheduler.rungs()
    assert rungs[-1] == 1.0
    assert all(0 < low < high for low, high in pairwise(rungs))


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("trials", [1, 2, 9, 30])
def test_it_ends_with_every_trial_started_and_no_job_twice(scheduler, trials, values):
    jobs = run(scheduler, trials, VALUES[values])
    assert len(set(jobs)) == len(jobs)
    assert {job.trial for job in jobs} == set(range(trials))


@pytest.mark.parametrize("values", VALUES)
def test_a_trial_climbs_one_rung_after_the_other_and_only_with_a_number(scheduler, values):
    reached = {}
    for job in run(scheduler, 20, VALUES[values]):
        assert job.rung == reached.get(job.trial, -1) + 1
        assert job.rung == 0 or VALUES[values](Job(job.trial, job.rung - 1)) is not None
        reached[job.trial] = job.rung


def test_trials_start_in_the_order_of_their_numbers(scheduler):
    assert [job.trial for job in run(scheduler, 12, noisy) if job.rung == 0] == list(range(12))


def test_some_trial_is_trained_to_the_end(scheduler):
    assert max(job.rung for job in run(scheduler, 16, VALUES["falling"])) == len(scheduler.rungs()) - 1


def test_the_answer_is_a_pure_function_of_what_it_is_told(scheduler):
    jobs = run(scheduler, 12, noisy)
    for k in range(len(jobs)):
        issued, seen = jobs[:k], [Result(job.trial, job.rung, noisy(job)) for job in jobs[:k]]
        assert scheduler.next_job(issued, seen, 12) == jobs[k]
        assert (len(issued), len(seen)) == (k, k)


def test_nothing_is_promoted_on_results_that_are_not_there(scheduler):
    issued = []
    while (job := scheduler.next_job(issued, [], 9)) is not None:
        issued.append(job)
    assert issued == [Job(trial, 0) for trial in range(9)]


def test_the_lag_is_a_number_of_jobs_or_none(scheduler):
    assert scheduler.lag() is None or scheduler.lag() >= 0
