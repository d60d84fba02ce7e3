"""Ray's own schedulers: their answers become jobs, what fails is waited for by nobody, nothing is drawn or written elsewhere."""

import copy
import itertools
import sys

import numpy as np
import pytest

from heliostat.core import family, seeds
from heliostat.core.errors import UserError
from heliostat.tune.decisions import Decisions
from heliostat.tune.proposals import Proposals
from heliostat.tune.schedulers._population import changeable, relaid
from heliostat.tune.schedulers._ray import geometric
from heliostat.tune.schedulers.base import Job, Result
from heliostat.tune.schedulers.hyperband import Hyperband
from heliostat.tune.schedulers.median_stopping import MedianStopping
from heliostat.tune.schedulers.pb2 import Pb2
from heliostat.tune.schedulers.pbt import Pbt, explored, perturbed
from heliostat.tune.schedulers.ray_asha import RayAsha
from heliostat.tune.space import Dimension, Space, parse_space

SPACE = parse_space(
    {"train.optimizer.lr": {"log_uniform": [1e-5, 1e-2]}, "train.dropout": {"uniform": [0, 0.5]}, "train.epochs": {"int": [1, 4]}}
)


def sweep(scheduler, trials, value, space=SPACE, seed=1, slots=1):
    """(Jobs, settings of each job's trial at its start) of a sweep in which the job that began first ends first."""
    course, jobs, now, used, running = scheduler.open(trials, space, seed), [], {}, {}, []
    while True:
        while len(running) < slots and (job := course.next()) is not None:
            new = job.settings or (None if job.trial in now else space.at(seeds.rng(2, "at", job.trial).random(len(space.dimensions))))
            if new is not None:
                now[job.trial] = new
                course.begun(job.trial, new)
            used[job.key] = now[job.trial]
            jobs.append(job)
            running.append(job)
        if not running:
            return jobs, used
        job = running.pop(0)
        course.see(Result(job.trial, job.rung, value(job)))


def counts(jobs, rungs):
    return [sum(job.rung == at for job in jobs) for at in range(rungs)]


def test_nothing_of_ray_is_imported_before_a_course_opens():
    import subprocess

    code = (
        "import sys; from heliostat.core.family import members, build; members('tune.schedulers'); "
        "build('tune.schedulers', 'pb2').rungs(); print('ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"use": "hyperband", "iterations": 10}, r"iterations: with eta 3 it must be one of 3, 9, 27, 81, 243, 729; 10 was given\. Use 9"),
        ({"use": "ray_asha", "grace": 12}, r"grace: 12 is more than the 9 iterations there are\. Use 1 to 9"),
        ({"use": "median_stopping", "grace": 12}, r"grace: 12 is more than the 9 iterations"),
        ({"use": "pbt", "factors": [0.8, -1]}, r"factors: each must be above 0.*-1 was given"),
        ({"use": "pbt", "quantile_fraction": 0.6}, r"quantile_fraction: it must be less than or equal to 0\.5"),
    ],
)
def test_options_that_make_no_sense_are_refused_with_what_does(spec, said):
    with pytest.raises(UserError, match=said):
        family.build("tune.schedulers", spec)


def test_iterations_grow_by_a_factor_up_to_the_last():
    assert geometric(1, 3, 9) == [1, 3, 9]
    assert geometric(2, 3, 10) == [2, 6, 10]
    assert geometric(4, 2, 4) == [4]
    assert RayAsha(iterations=10, eta=3, grace=2).rungs() == (0.2, 0.6, 1.0)


# Stopping


def test_rays_asha_stops_who_is_worse_than_those_before():
    jobs, _ = sweep(RayAsha(), 27, lambda job: -float(job.trial))
    assert counts(jobs, 3) == [27, 1, 1]
    assert jobs[:3] == [Job(0, 0), Job(0, 1), Job(0, 2)]  # it holds its slot
    jobs, _ = sweep(RayAsha(), 9, lambda job: float(job.trial))
    assert counts(jobs, 3) == [9, 9, 9]


def test_the_median_rule_stops_the_worse_half_once_there_are_enough():
    jobs, _ = sweep(MedianStopping(iterations=3), 20, lambda job: float(job.trial % 2))
    full = {job.trial for job in jobs if job.rung == 2}
    assert all(trial % 2 or trial < 4 for trial in full)
    assert {trial for trial in range(5, 20) if trial % 2} <= full


def test_the_median_rule_starts_all_before_it_goes_on_with_those_it_could_not_judge():
    jobs, _ = sweep(MedianStopping(iterations=2, min_samples=9), 6, lambda job: 1.0)
    assert jobs == [Job(trial, at) for at in range(2) for trial in range(6)]


# HyperBand


def test_a_band_has_as_many_trials_as_rays_and_its_rungs_are_rays():
    from ray.tune.experiment import Trial

    for eta in range(2, 17):
        for iterations in itertools.takewhile(lambda power: power <= 100, (eta**k for k in range(1, 10))):
            member = Hyperband(eta=eta, iterations=iterations)
            stock = member.open_band(1, 0).stock
            milestones = [stock._get_r0(s) for s in range(stock._s_max_1)]
            assert [m / iterations for m in reversed(milestones)] == pytest.approx(member.rungs())
            for number in range(member.band() - 1):
                stock.on_trial_add(None, Trial("trial", stub=True, trial_id=str(number)))
            assert len(stock._hyperbands) == 1
            stock.on_trial_add(None, Trial("trial", stub=True, trial_id="one more"))
            assert len(stock._hyperbands) == 2


def test_the_largest_bands_have_the_right_rungs_in_spite_of_rounding():
    for eta, iterations in [(3, 729), (9, 729), (7, 343), (14, 196)]:
        stock = Hyperband(eta=eta, iterations=iterations).open_band(1, 0).stock
        assert [stock._get_r0(s) for s in range(stock._s_max_1)] == geometric(1, eta, iterations)[::-1]


def test_a_band_is_a_few_trials_to_the_end_and_many_that_are_halved():
    jobs, _ = sweep(Hyperband(), 17, lambda job: float(job.trial))
    assert counts(jobs, 3) == [17, 3 + 5 + 3, 3 + 2 + 1]


def test_bands_follow_each_other_and_are_forgotten():
    member = Hyperband(iterations=3)
    course, running = member.open(50 * member.band(), SPACE, 0), []
    while True:
        while len(running) < 4 and (job := course.next()) is not None:
            running.append(job)
        if not running:
            break
        job = running.pop()
        course.see(Result(job.trial, job.rung, None if job.trial % 3 else 1.0))
        assert len(course.open) <= 4
    assert course.begun_bands == 50
    assert not course.open


@pytest.mark.parametrize("rung", range(3))
def test_a_group_never_waits_for_a_trial_that_failed_whichever_it_is(rung):
    """Every single trial, at every rung: the others end as they would."""
    for wrong in range(17):
        jobs, _ = sweep(Hyperband(), 17, lambda job, wrong=wrong: None if job.key == (wrong, rung) else float(job.trial), slots=3)
        assert counts(jobs, 3)[0] == 17
        assert max(job.rung for job in jobs if job.trial >= 8 and job.trial != wrong) == 2


def test_a_group_whose_trials_all_fail_at_some_rung_ends():
    for seed in range(20):
        rng = seeds.rng(seed, "test", "fails")
        fails = {(trial, at) for trial in range(34) for at in range(3) if rng.random() < 0.5}
        jobs, _ = sweep(Hyperband(), 34, lambda job, fails=fails: None if job.key in fails else float(job.trial), slots=1 + seed % 4)
        assert counts(jobs, 3)[0] == 34


# Populations


def test_what_may_change_while_a_training_runs():
    assert changeable("train.optimizer.lr")
    assert changeable("train.dropout")
    assert not changeable("train.optimizer.use")
    assert not changeable("train.optimizer")
    assert not changeable("train.epochs")
    assert not changeable("model.id")


@pytest.mark.parametrize("scheduler", [Pbt(iterations=6), Pbt(iterations=6, interval=2, quantile_fraction=0.5)])
@pytest.mark.parametrize("slots", [1, 4, 30])
def test_every_trial_of_a_population_trains_to_the_end_and_the_worst_copy_the_best(scheduler, slots):
    jobs, used = sweep(scheduler, 12, lambda job: job.rung + job.trial / 12, slots=slots)
    assert counts(jobs, 6) == [12] * 6
    copies = [job for job in jobs if job.parent is not None]
    assert copies
    assert all(job.parent >= 6 and job.trial < 6 for job in copies)
    for job in copies:
        donor = used[job.parent, job.rung - 1]
        assert job.settings["train.epochs"] == donor["train.epochs"]  # part of the state
        assert SPACE.holds(job.settings)


def test_settings_that_make_the_state_are_those_with_which_it_was_reached():
    for seed in range(5):
        rng = seeds.rng(seed, "test", "scores")
        jobs, used = sweep(Pbt(iterations=8), 10, lambda job, rng=rng: float(rng.random()), slots=4, seed=seed)
        copies = [job for job in jobs if job.parent is not None]
        assert all(job.settings["train.epochs"] == used[job.parent, job.rung - 1]["train.epochs"] for job in copies)
        assert len(copies) > 10


@pytest.mark.parametrize("fails", [False, True])
def test_a_population_compares_when_all_are_there_or_have_failed(fails):
    course = Pbt(iterations=4).open(4, SPACE, 1)
    for number in range(4):
        assert course.next() == Job(number, 0)
        course.begun(number, SPACE.at(seeds.rng(2, "at", number).random(3)))
    assert course.next() is None
    for number in range(3):
        course.see(Result(number, 0, float(number)))
        assert course.next() is None
    course.see(Result(3, 0, None if fails else 3.0))
    jobs = [course.next() for _ in range(4)]
    assert (jobs[0].trial, jobs[0].rung, jobs[0].parent) == (0, 1, 2 if fails else 3)
    assert jobs[1:] == [Job(1, 1), Job(2, 1), None if fails else Job(3, 1)]


def test_a_population_survives_failures_and_copies_no_failed_trial():
    def value(job):
        return None if job.trial % 3 == 0 and job.rung == 2 else job.rung + job.trial / 12

    jobs, _ = sweep(Pbt(iterations=5), 12, value, slots=4)
    assert counts(jobs, 5) == [12, 12, 12, 8, 8]
    assert not any(job.parent is not None and job.parent % 3 == 0 and job.rung > 2 for job in jobs)


def test_pb2_chooses_new_numbers_with_its_gaussian_process():
    jobs, used = sweep(Pb2(iterations=4), 6, lambda job: job.rung * (1 + used_score(job)), slots=2)
    assert counts(jobs, 4) == [6] * 4
    copies = [job for job in jobs if job.parent is not None]
    assert copies
    assert all(SPACE.holds(job.settings) for job in copies)
    assert all(job.settings["train.epochs"] == used[job.parent, job.rung - 1]["train.epochs"] for job in copies)
    assert any(job.settings["train.optimizer.lr"] != used[job.parent, job.rung - 1]["train.optimizer.lr"] for job in copies)
    assert sweep(Pb2(iterations=4), 6, lambda job: job.rung * (1 + used_score(job)), slots=2)[0] == jobs


def used_score(job):
    return job.trial / 6


def test_what_a_population_cannot_do_is_said_before_it_starts():
    assert Pbt().problems(12, SPACE) == []
    assert Pbt().problems(1, SPACE) == ["all trials are one population of 2 to 200, and trials is 1. Use another number, or asha."]
    structural = parse_space({"train.epochs": {"int": [1, 4]}})
    assert "nothing that is searched can change while a training runs" in Pbt().problems(12, structural)[0]
    mixed = parse_space(
        {
            "train.optimizer.lr": {"log_uniform": [1e-5, 1e-2]},
            "train.clip": {"choice": [0.5, 1.0]},
            "train.dropout": {"uniform": [0, 0.3], "when": {"train.clip": 0.5}},
        }
    )
    assert Pbt().problems(12, mixed) == []
    assert [problem.split(", and ")[1].split(".  ")[0][:10] for problem in Pb2().problems(12, mixed)] == ["train.clip", "train.drop"]


# Arithmetic


@pytest.mark.parametrize(
    ("dimension", "value", "allowed"),
    [
        (Dimension("uniform", 0, 1), 0.5, {0.4, 0.6}),
        (Dimension("uniform", 0.0, 1.0), 0.9, {0.72, 1.0}),
        (Dimension("log_uniform", 1e-4, 1e-2), 1e-4, {1e-4, 1.2e-4}),
        (Dimension("int", 1, 9), 1, {1, 2}),
        (Dimension("int", 1, 9), 2, {1, 3}),
        (Dimension("uniform", 0, 1, step=0.25), 0.5, {0.25, 0.75}),
        (Dimension("int", -9, -1), -2, {-1, -3}),
        (Dimension("choice", choices=("a", "b", "c")), "b", {"a", "c"}),
        (Dimension("choice", choices=(False, 0, 1)), 0, {False, 1}),
    ],
)
def test_a_perturbed_value_is_a_near_one_that_may_be_tried(dimension, value, allowed):
    rng = seeds.rng(1, "test", "perturbed")
    found = {perturbed(dimension, value, (0.8, 1.2), rng) for _ in range(40)}
    assert sorted(map(str, found)) == sorted(map(str, allowed))
    assert all(dimension.holds(one) for one in found)


def test_a_copy_is_a_whole_point_when_what_it_tries_depends_on_other_values():
    space = parse_space(
        {
            "train.schedule.shape": {"choice": ["a", "b"]},
            "train.schedule.power": {"uniform": [1, 2], "when": {"train.schedule.shape": "b"}},
            "train.batch": {"choice": [8, 16]},
        }
    )
    copied = {"train.schedule.shape": "a", "train.batch": 8}
    for seed in range(20):
        settings = explored(space, copied, seeds.rng(seed, "test"), factors=(0.8, 1.2), resample=0.25)
        assert space.holds(settings)
        assert settings["train.batch"] == 8
    gone = relaid(space, {"train.schedule.shape": "b", "train.schedule.power": 1.5, "train.batch": 8}, lambda path, dimension: "a", None)
    assert gone == copied


def test_a_copy_keeps_its_parents_settings_when_no_others_are_allowed():
    space = Space(SPACE.dimensions, parse_space({"train.dropout": {"uniform": [0, 0.5]}}, ["train.dropout == 0.25"]).constraints)
    copied = {"train.optimizer.lr": 1e-3, "train.dropout": 0.25, "train.epochs": 2}
    assert explored(space, copied, seeds.rng(1, "test"), factors=(0.5,), resample=0.0) == copied


def test_random_numbers_of_others_are_left_alone():
    np.random.seed(3)
    expected = np.random.RandomState(3).random_sample()
    sweep(Pbt(iterations=3), 8, lambda job: job.trial)
    assert np.random.random_sample() == expected


# With decisions


@pytest.mark.parametrize("scheduler", [Hyperband(), RayAsha(), MedianStopping(iterations=4), Pbt(iterations=4)])
def test_a_sweep_that_is_killed_goes_on_to_the_same_end(scheduler):
    def play(events, slots):
        proposals = Proposals(family.build("tune.samplers", "random"), SPACE, 10, 5)
        decisions, running = Decisions(scheduler, 10, proposals, list(events), events.append), []
        while not decisions.done:
            while len(running) < slots and (job := decisions.next()) is not None:
                running.append(job)
            job = running.pop(0)
            rng = seeds.rng(1, "value", job.trial, job.rung)
            decisions.finish(job, None if rng.random() < 0.15 else job.rung + float(rng.random()), {})
        return [event for event in events if event["event"] == "job"]

    whole = []
    expected = play(whole, 2)
    for cut in range(0, len(whole), 9):
        assert play(copy.deepcopy(whole[:cut]), 3) == expected
