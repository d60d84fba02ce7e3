"""Decisions: with a fixed lag a sweep is the same sweep, whatever the timing, the width, or how often it was killed."""

import copy
import random

import pytest

from heliostat.core import seeds
from heliostat.tune.decisions import Decisions
from heliostat.tune.schedulers.asha import Asha
from heliostat.tune.schedulers.base import Job
from heliostat.tune.schedulers.full import Full

TRIALS = 17


def value_of(job, seed):
    """What a job gives: a pure function of the job; one in five is not a number."""
    rng = seeds.rng(seed, "test", "value", job.trial, job.rung)
    return None if rng.random() < 0.2 else float(rng.random())


def sweep(scheduler, seed, *, slots, timing, events=None, losses=0.0, trials=TRIALS, until=None):
    """Run a simulated sweep: (its events, jobs that were run, most jobs outstanding at once).

    `timing` seeds the order in which running jobs finish; `losses` is the share of jobs that are lost and run again.
    """
    clock, events = random.Random(timing), events if events is not None else []
    decisions = Decisions(scheduler, trials, list(events), events.append)
    running, ran, outstanding = [], [], 0
    while not decisions.done:
        while len(running) < slots and (job := decisions.next()) is not None:
            running.append(job)
        outstanding = max(outstanding, len(running))
        assert running, "nothing runs, nothing is decided, and it is not done"
        job = running.pop(clock.randrange(len(running)))
        if clock.random() < losses:
            decisions.requeue(job)
        else:
            ran.append(job)
            decisions.finish(job, value_of(job, seed), {})
        if until is not None and len(events) >= until:
            break
    return events, ran, outstanding


def jobs(events):
    return [(e["trial"], e["rung"]) for e in events if e["event"] == "job"]


@pytest.mark.parametrize("lag", [0, 1, 3, 8])
def test_the_same_jobs_are_issued_in_the_same_order_whatever_the_timing(lag):
    for seed in range(30):
        scheduler = Asha(decision_lag=lag)
        expected = jobs(sweep(scheduler, seed, slots=1, timing=0)[0])
        for slots in (2, 4, 50):
            for timing in range(2):
                events, ran, outstanding = sweep(scheduler, seed, slots=slots, timing=timing, losses=0.15)
                assert jobs(events) == expected
                assert sorted((j.trial, j.rung) for j in ran) == sorted(expected)
                assert outstanding <= lag + 1


def test_a_wide_enough_sweep_does_use_its_lag():
    assert sweep(Asha(decision_lag=3), 1, slots=50, timing=1)[2] == 4


def test_a_killed_sweep_goes_on_to_the_same_end_and_repeats_nothing():
    for seed in range(8):
        whole, _, _ = sweep(Asha(), seed, slots=3, timing=seed)
        for cut in range(len(whole) + 1):
            events = copy.deepcopy(whole[:cut])
            finished = {(e["trial"], e["rung"]) for e in events if e["event"] == "result"}
            events, ran, _ = sweep(Asha(), seed, slots=2, timing=cut, events=events)
            assert jobs(events) == jobs(whole)
            assert sorted((j.trial, j.rung) for j in ran) == sorted(set(jobs(whole)) - finished)


def test_a_sweep_that_is_killed_again_and_again_ends():
    whole, _, _ = sweep(Asha(), 3, slots=1, timing=0)
    events, rounds = [], 0
    while len(events) < len(whole):
        events, _, _ = sweep(Asha(), 3, slots=4, timing=rounds, events=events, until=len(events) + 3)
        rounds += 1
    assert jobs(events) == jobs(whole)
    assert rounds > 5


@pytest.mark.parametrize("scheduler", [Asha(decision_lag=None), Full()])
def test_without_a_lag_a_sweep_is_as_wide_as_its_slots_and_every_trial_runs(scheduler):
    for seed in range(20):
        events, ran, outstanding = sweep(scheduler, seed, slots=9, timing=seed, losses=0.1)
        assert {trial for trial, _ in jobs(events)} == set(range(TRIALS))
        assert len(set(jobs(events))) == len(jobs(events)) == len(ran)
        assert outstanding == 9


def test_a_killed_sweep_without_a_lag_goes_on_too():
    whole, _, _ = sweep(Asha(decision_lag=None), 2, slots=5, timing=7)
    for cut in range(0, len(whole), 3):
        events, _, _ = sweep(Asha(decision_lag=None), 2, slots=5, timing=cut, events=copy.deepcopy(whole[:cut]))
        assert {trial for trial, _ in jobs(events)} == set(range(TRIALS))
        assert len([e for e in events if e["event"] == "result"]) == len(jobs(events))


def test_a_job_is_on_record_before_it_is_given_and_a_result_before_it_is_seen():
    record = []
    decisions = Decisions(Asha(decision_lag=0), 4, [], record.append)
    job = decisions.next()
    assert record == [{"event": "job", "trial": 0, "rung": 0}]
    assert decisions.next() is None  # its result is awaited
    assert not decisions.done

    def full_disk(event):
        raise OSError("no space left")

    decisions._write = full_disk
    with pytest.raises(OSError, match="no space"):
        decisions.finish(job, 0.5, {})
    assert decisions.results == {}


def test_a_result_carries_its_facts_to_the_record():
    record = []
    decisions = Decisions(Full(), 1, [], record.append)
    decisions.finish(decisions.next(), 0.5, {"busy_s": 2.0})
    assert record[-1] == {"event": "result", "trial": 0, "rung": 0, "value": 0.5, "busy_s": 2.0}
    assert decisions.done


def test_a_lost_job_comes_before_any_new_one_and_is_not_issued_twice():
    record = []
    decisions = Decisions(Full(), 3, [], record.append)
    first, second = decisions.next(), decisions.next()
    decisions.requeue(first)
    assert decisions.next() == first
    assert decisions.next() == Job(2, 0)
    assert jobs(record) == [(0, 0), (1, 0), (2, 0)]
    assert not decisions.done
    for job in (second, first, Job(2, 0)):
        decisions.finish(job, 0.1, {})
    assert decisions.done


def test_stopping_lets_running_jobs_finish_and_starts_none():
    decisions = Decisions(Full(), 9, [], lambda event: None)
    first, second = decisions.next(), decisions.next()
    decisions.finish(first, None, {})
    decisions.stop()
    assert decisions.next() is None
    assert not decisions.done
    decisions.finish(second, 0.5, {})
    assert decisions.done


def test_a_stopped_sweep_ends_even_when_a_job_is_lost():
    decisions = Decisions(Full(), 9, [], lambda event: None)
    first, second = decisions.next(), decisions.next()
    decisions.finish(first, None, {})
    decisions.stop()
    decisions.requeue(second)
    assert decisions.next() is None
    assert decisions.done


def test_a_sweep_that_is_stopped_after_a_kill_ends_though_jobs_of_then_are_open():
    events = [{"event": "job", "trial": n, "rung": 0} for n in range(3)]
    decisions = Decisions(Full(), 9, events, lambda event: None)
    decisions.finish(decisions.next(), None, {})
    decisions.stop()
    assert decisions.next() is None
    assert decisions.done
