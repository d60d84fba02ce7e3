"""What every scheduler promises, found by itself in the family."""

import random
import statistics
import time
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from heliostat.core import family, seeds
from heliostat.tune.schedulers.base import Job, Result
from heliostat.tune.space import parse_space

SPACE = parse_space(
    {
        "train.optimizer.lr": {"log_uniform": [1e-5, 1e-2]},
        "train.dropout": {"uniform": [0, 0.5]},
        "train.epochs": {"int": [1, 4]},
    },
    ["train.dropout * train.epochs < 1.5"],
)
FEW = 60


@pytest.fixture(params=family.names("tune.schedulers"))
def scheduler(request):
    return family.build("tune.schedulers", request.param)


@pytest.fixture(autouse=True, scope="module")
def _guessing():
    """Ray's Gaussian processes take seconds for each answer; here they guess."""
    import ray.tune.schedulers.pb2 as ray_pb2

    def guess(points, values, current, newpoint, bounds, num_f):
        return np.random.random(len(bounds)).astype(np.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_pb2, "_select_config", guess)
        yield


def drawn(trial):
    """What trial `trial` begins with."""
    for attempt in range(99):
        settings = SPACE.at(seeds.rng(5, "test", "settings", trial, attempt).random(len(SPACE.dimensions)))
        if SPACE.allows(settings):
            return settings
    raise AssertionError("no settings are allowed")


class Driven:
    """A course, asked and told; the calls are kept, so that they can be made once more."""

    def __init__(self, scheduler, trials, seed=3):
        self.course, self.trials = scheduler.open(trials, SPACE, seed), trials
        self.jobs, self.calls, self.settings = [], [], {}
        self.unanswered, self.limit = 0, trials * len(scheduler.rungs())

    def next(self):
        job = self.course.next()
        if job is None:
            self.unanswered += 1
            return None
        assert len(self.jobs) < self.limit, "more jobs than trials have rungs"
        new = job.settings if job.trial in self.settings else drawn(job.trial)
        if new is not None:
            self.settings[job.trial] = new
            self.course.begun(job.trial, new)
        self.jobs.append(job)
        self.calls.append(job)
        return job

    def see(self, job, value):
        self.calls.append(Result(job.trial, job.rung, value))
        self.course.see(self.calls[-1])


def run(scheduler, trials, value, slots=1, timing=0, seed=3):
    """A whole sweep on `slots`: jobs end in an order that `timing` seeds, and `value(job)` is what each gives."""
    driven, clock, running = Driven(scheduler, trials, seed), random.Random(timing), []
    while True:
        while len(running) < slots and (job := driven.next()) is not None:
            running.append(job)
        if not running:
            return driven
        job = running.pop(clock.randrange(len(running)))
        driven.see(job, value(job))


def noisy(job):
    rng = seeds.rng(1, "test", job.trial, job.rung)
    return None if rng.random() < 0.25 else float(rng.random())


VALUES = {
    "rising": lambda job: float(job.trial),
    "falling": lambda job: -float(job.trial),
    "equal": lambda job: 0.5,
    "learning": lambda job: job.rung + 0.1 * (job.trial % 7),
    "nan": lambda job: None,
    "noisy": noisy,
}
SWEEPS = [(12, "rising", 4), (9, "falling", 1), (12, "equal", 4), (12, "learning", 50), (3, "nan", 1), (12, "noisy", 1), (12, "noisy", 4)]
"""Trials, what their jobs give, slots."""


@cache
def swept(name, trials, values, slots):
    return run(family.build("tune.schedulers", name), trials, VALUES[values], slots, timing=slots)


def sweeps(scheduler):
    """Some whole sweeps, made once for all tests."""
    return [swept(scheduler.name(), *sweep) for sweep in SWEEPS]


def firsts(jobs):
    """Trial to its first job."""
    found = {}
    for job in jobs:
        found.setdefault(job.trial, job)
    return found


def test_rungs_rise_and_end_with_a_full_training(scheduler):
    rungs = scheduler.rungs()
    assert rungs[-1] == 1.0
    assert all(0 < low < high for low, high in pairwise(rungs))


def test_it_ends_with_every_trial_started_in_order_and_no_job_twice(scheduler):
    one = run(scheduler, 1, VALUES["rising"])
    for driven in (one, *sweeps(scheduler)):
        assert len({job.key for job in driven.jobs}) == len(driven.jobs)
        assert list(firsts(driven.jobs)) == list(range(driven.trials))


def test_a_trial_climbs_one_rung_after_the_other_from_its_first_and_only_with_a_number(scheduler):
    for driven in sweeps(scheduler):
        seen, reached = {}, {}
        for call in driven.calls:
            if isinstance(call, Result):
                seen[call.trial, call.rung] = call.value
                continue
            if call.trial in reached:
                assert call.rung == reached[call.trial] + 1
                assert seen[call.trial, reached[call.trial]] is not None
            assert 0 <= call.rung < len(scheduler.rungs())
            reached[call.trial] = call.rung


def test_a_parent_is_another_trial_that_has_been_at_the_rung_before(scheduler):
    for driven in sweeps(scheduler):
        seen = {}
        for call in driven.calls:
            if isinstance(call, Result):
                seen[call.trial, call.rung] = call.value
            elif call.parent is not None:
                assert call.parent != call.trial
                assert seen[call.parent, call.rung - 1] is not None
        assert not any(job.parent is not None or job.settings for job in firsts(driven.jobs).values())
    assert scheduler.exploits == any(job.parent is not None for driven in sweeps(scheduler) for job in driven.jobs)


def test_new_settings_are_whole_allowed_points_of_the_space(scheduler):
    changed = [job.settings for driven in sweeps(scheduler) for job in driven.jobs if job.settings is not None]
    assert all(SPACE.holds(settings) and SPACE.allows(settings) for settings in changed)
    assert bool(changed) == scheduler.exploits


def test_some_trial_is_trained_to_the_end(scheduler):
    for driven in sweeps(scheduler)[:4]:
        assert max(job.rung for job in driven.jobs) == len(scheduler.rungs()) - 1


def test_the_same_calls_give_the_same_jobs_and_those_without_an_answer_leave_no_trace(scheduler):
    """The sweep asked whenever a slot was free; here it is asked only where there was an answer, and then more often."""
    for driven in sweeps(scheduler)[-2:]:
        assert driven.unanswered
        random.seed(len(driven.jobs))  # whatever else draws random numbers
        again = Driven(scheduler, driven.trials)
        for call in driven.calls:
            if isinstance(call, Job):
                assert again.next() == call
            else:
                again.see(call, call.value)
        for _ in range(3):
            assert again.next() is None
        assert again.jobs == driven.jobs


def test_it_draws_no_random_numbers_that_others_draw(scheduler):
    random.seed(1)
    np.random.seed(1)
    expected = random.Random(1).random(), np.random.RandomState(1).random_sample()
    run(scheduler, 12, noisy, slots=4)
    assert (random.random(), np.random.random_sample()) == expected


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_no_result_is_awaited_for_ever_whichever_trials_fail(scheduler, share):
    for slots in (1, 5):
        fails = {(t, r) for t in range(12) for r in range(30) if seeds.rng(slots, "fails", t, r).random() < share / (r + 1)}

        def value(job, fails=fails):
            return None if job.key in fails else 1.0 + job.rung + job.trial % 5

        driven = run(scheduler, 12, value, slots, timing=slots)
        assert len(firsts(driven.jobs)) == 12
        for failed in [call for call in driven.calls if isinstance(call, Result) and call.value is None]:
            assert [job for job in driven.jobs if job.trial == failed.trial][-1].key == (failed.trial, failed.rung)


def test_nothing_is_promoted_on_results_that_are_not_there(scheduler):
    driven = Driven(scheduler, 9)
    while driven.next() is not None:
        pass
    assert [job.trial for job in driven.jobs] == list(range(9))


def test_the_lag_is_a_number_of_jobs_or_none(scheduler):
    assert scheduler.lag() is None or scheduler.lag() >= 0


def test_problems_are_sentences(scheduler):
    assert scheduler.problems(12, SPACE) == []
    for trials in (1, 2000):
        assert all(problem.endswith(".") for problem in scheduler.problems(trials, SPACE))


def test_a_call_does_not_take_longer_when_there_are_more_trials(scheduler):
    settings, noise = drawn(0), seeds.rng(4, "test").random(999)

    def typical_s(trials):
        """Seconds of a question and a result, when most trials are there."""
        course, times, running = scheduler.open(trials, SPACE, 3), [], []
        while len(times) < 2 * trials:
            began = time.perf_counter()
            while len(running) < 4 and (job := course.next()) is not None:
                course.begun(job.trial, job.settings or settings)
                running.append(job)
            if not running:
                break
            done = running.pop(0)
            course.see(Result(done.trial, done.rung, done.rung + float(noise[done.trial % 999])))
            times.append(time.perf_counter() - began)
        return statistics.median(times[len(times) // 2 :])

    if scheduler.problems(FEW * 10, SPACE):
        pytest.skip("so many trials are refused")
    assert typical_s(FEW * 10) < 4 * min(typical_s(FEW), typical_s(FEW)) + 2e-5


def test_a_plan_simulates_as_many_jobs_in_no_time(scheduler):
    outline = scheduler.outline()
    assert outline.rungs() == scheduler.rungs()
    assert outline.lag() == scheduler.lag()
    jobs, expected = run(outline, 12, VALUES["learning"], 50, timing=50).jobs, swept(scheduler.name(), 12, "learning", 50).jobs
    assert abs(len(jobs) - len(expected)) <= 0.1 * len(expected)
