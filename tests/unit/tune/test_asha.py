"""Successive halving: who is promoted, and when."""

import numpy as np
import pytest

from heliostat.core import family, seeds
from heliostat.core.errors import UserError
from heliostat.tune.schedulers._ranking import COMPARED, Trail, noise, same_ranking, turns
from heliostat.tune.schedulers.asha import Asha, Rung, dealt_next, proportions
from heliostat.tune.schedulers.base import Job, Result
from heliostat.tune.space import Space

NOWHERE = Space({})


def rung(*values):
    made = Rung()
    for trial, value in enumerate(values):
        made.add(trial, value)
    return made


def sweep(scheduler, trials, value):
    """Every job of a sweep on one slot."""
    course, jobs = scheduler.open(trials, NOWHERE, 0), []
    while (job := course.next()) is not None:
        jobs.append(job)
        course.see(Result(job.trial, job.rung, value(job)))
    return jobs


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


@pytest.mark.parametrize("wrong", [{"eta": 1}, {"first": 0}, {"first": 1.5}, {"decision_lag": -1}, {"brackets": 0}, {"brackets": 4}])
def test_values_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        family.build("tune.schedulers", {"use": "asha", **wrong})


def test_refusals_say_what_is_allowed():
    with pytest.raises(UserError, match=r"^eta: it must be greater than or equal to 2; 1 was given"):
        family.build("tune.schedulers", {"use": "asha", "eta": 1})
    with pytest.raises(UserError, match=r"^brackets: 4 brackets need as many rungs.*makes 3. Use 1 to 3"):
        family.build("tune.schedulers", {"use": "asha", "brackets": 4})
    with pytest.raises(UserError, match=r"^grow: .*brackets is 2"):
        family.build("tune.schedulers", {"use": "asha", "brackets": 2, "grow": True})


# Promotion


@pytest.mark.parametrize(
    ("seen", "eta", "chosen"), [((0.3, 0.9, 0.1, 0.5), 2, [1, 3]), ((0.3, 0.9, 0.1, 0.5), 4, [1]), ((0.3, 0.9, 0.1), 4, [])]
)
def test_the_best_of_a_rung_go_on_and_no_others(seen, eta, chosen):
    here, gone = rung(*seen), []
    while (trial := here.promotable(eta)) is not None:
        assert here.promote() == trial
        gone.append(trial)
    assert gone == chosen


def test_what_is_not_a_number_counts_in_its_rung_and_never_goes_on():
    here = rung(None, 0.1, None, None)
    assert here.promotable(2) == 1
    here.promote()
    assert here.promotable(2) is None
    assert rung(None, None, None, None).promotable(2) is None


def test_ties_go_to_the_lower_number():
    here = Rung()
    for trial, value in [(3, 0.5), (1, 0.5), (2, 0.5), (0, 0.1)]:
        here.add(trial, value)
    assert here.promotable(4) == 1


def test_who_went_on_too_early_takes_no_place_from_a_better_one():
    """1 goes on as the best of two; then 2 and 3 are better, and 1 is not among the best half of four."""
    here = rung(0.1, 0.2)
    assert here.promote() == 1
    here.add(2, 0.9)
    here.add(3, 0.8)
    assert here.promotable(2) == 2
    assert here.promote() == 2
    assert here.promotable(2) == 3
    assert here.promote() == 3
    assert here.promotable(2) is None


def test_a_rung_answers_as_a_plain_search_does():
    for seed in range(30):
        rng, here, values, gone = seeds.rng(seed, "test", "rung"), Rung(), {}, set()
        for trial in range(60):
            value = None if rng.random() < 0.2 else float(rng.integers(8))
            here.add(trial, value)
            values[trial] = value
            while True:
                ranked = sorted((t for t in values if values[t] is not None), key=lambda t: (-values[t], t))
                plain = next((t for t in ranked[: len(values) // 3] if t not in gone), None)
                assert here.promotable(3) == plain
                if plain is None:
                    break
                gone.add(here.promote())


FAR = (0.9, 0.2, 0.1, 0.15)


def test_one_far_behind_the_best_of_its_rung_waits_until_no_new_trial_is_left():
    course = Asha(first=0.5, eta=2).open(6, NOWHERE, 0)
    jobs = [course.next() for _ in range(4)]
    for job, value in zip(jobs, FAR, strict=True):
        course.see(Result(job.trial, job.rung, value))
    assert [course.next() for _ in range(4)] == [Job(0, 1), Job(4, 0), Job(5, 0), Job(1, 1)]
    assert course.next() is None


def test_behind_of_one_is_the_published_algorithm():
    course = Asha(first=0.5, eta=2, behind=1).open(6, NOWHERE, 0)
    jobs = [course.next() for _ in range(4)]
    for job, value in zip(jobs, FAR, strict=True):
        course.see(Result(job.trial, job.rung, value))
    assert [course.next() for _ in range(4)] == [Job(0, 1), Job(1, 1), Job(4, 0), Job(5, 0)]


def test_how_far_behind_is_measured_from_the_best_to_the_median():
    here = rung(1.0, 0.8, 0.5, 0.1, -1e9, None)
    here.promote()
    assert here.promotable(3, behind=0.39) is None
    assert here.promotable(3, behind=0.41) == 1
    here.add(6, 0.7)
    here.add(7, 0.6)
    assert here.promotable(3, behind=0.41) is None
    assert rung(0.5, 0.5, 0.5, 0.5).promotable(2, behind=0.01) == 0
    assert rung(0.5, 0.6).promotable(2, behind=0.01) == 1


@pytest.mark.parametrize("seed", range(20))
def test_a_sweep_that_ends_has_promoted_all_that_are_in_the_top(seed):
    rng, values = seeds.rng(seed, "test", "ended"), {}
    scheduler = Asha(first=0.125, eta=2)
    jobs = sweep(scheduler, 40, lambda job: values.setdefault((job.trial, job.rung), float(rng.random())))
    for at in range(3):
        here = sorted((trial for trial, rung in values if rung == at), key=lambda trial: -values[trial, at])
        assert {Job(trial, at + 1) for trial in here[: len(here) // 2]} <= set(jobs)


def test_a_higher_rung_comes_before_a_lower_one_and_both_before_a_new_trial():
    course = Asha(first=0.25, eta=2, behind=1).open(9, NOWHERE, 0)
    assert [course.next() for _ in range(6)] == [Job(trial, 0) for trial in range(6)]
    course.see(Result(0, 0, 0.6))
    course.see(Result(1, 0, 0.5))
    assert course.next() == Job(0, 1)
    for trial, value in [(2, 0.55), (3, 0.3), (4, 0.2), (5, 0.1)]:
        course.see(Result(trial, 0, value))
    assert course.next() == Job(2, 1)
    course.see(Result(0, 1, 0.6))
    course.see(Result(2, 1, 0.5))
    assert [course.next() for _ in range(4)] == [Job(0, 2), Job(1, 1), Job(6, 0), Job(7, 0)]


def test_never_more_than_one_in_eta_of_what_was_seen_goes_on():
    """When the best come first nobody is promoted by mistake, and the bound is exact."""
    jobs = sweep(Asha(eta=3, first=1 / 9), 100, lambda job: -float(job.trial))
    assert [sum(job.rung == at for job in jobs) for at in range(3)] == [100, 33, 11]


def test_a_sweep_finds_the_best_trial_of_a_noisy_field():
    """Later rungs are nearer to the truth; the trial that is truly best by far must reach the last one."""
    for seed in range(20):
        rng = seeds.rng(seed, "test", "field")
        truth = rng.random(32)
        truth[rng.integers(32)] = 2.0
        jobs = sweep(Asha(), 32, lambda job, truth=truth, rng=rng: float(truth[job.trial] + 0.1 * rng.normal() / (job.rung + 1)))
        assert Job(int(truth.argmax()), 2) in jobs


# Brackets


@pytest.mark.parametrize("trials", [1, 2, 3, 5])
@pytest.mark.parametrize("options", [{}, {"brackets": 2}])
def test_trials_too_few_for_the_last_rung_end_with_the_best_one_trained_to_it(trials, options):
    scheduler = Asha(eta=3, first=1 / 9, **options)
    jobs = sweep(scheduler, trials, lambda job: job.trial + job.rung)
    assert {job.trial for job in jobs} == set(range(trials))
    reached = [job for job in jobs if job.rung == 2]
    assert reached == jobs[-1:]
    assert len(jobs) == len(set(jobs))


def test_enough_trials_are_promoted_as_ever():
    jobs = sweep(Asha(eta=2, first=0.25), 4, lambda job: -job.trial)
    assert sum(job.rung == 2 for job in jobs) == 1


def test_brackets_have_hyperbands_proportions():
    assert proportions(3, 3, 3) == pytest.approx([3 / 5.5, 1.5 / 5.5, 1 / 5.5])
    assert proportions(2, 4, 1) == [1.0]


def test_trials_are_dealt_to_the_bracket_that_lacks_most():
    shares, dealt = [0.5, 0.3, 0.2], [0, 0, 0]
    for count in range(1, 200):
        dealt[dealt_next(shares, dealt)] += 1
        assert all(abs(have - share * count) < 1 for have, share in zip(dealt, shares, strict=True))
    assert dealt_next([0.5, 0.5], [0, 0]) == 0


def test_a_bracket_begins_at_its_own_rung_and_is_ranked_by_itself():
    """The trials of the second bracket are better by far, and take no place in the first one."""
    scheduler = Asha(eta=2, first=0.25, brackets=2)
    course, jobs, first = scheduler.open(60, NOWHERE, 0), [], {}
    while (job := course.next()) is not None:
        jobs.append(job)
        first.setdefault(job.trial, job.rung)
        course.see(Result(job.trial, job.rung, -float(job.trial) + 1000 * first[job.trial]))
    assert set(first.values()) == {0, 1}
    lower = [trial for trial, at in first.items() if at == 0]
    upper = [trial for trial, at in first.items() if at == 1]
    assert len(lower) == pytest.approx(60 * proportions(2, 3, 2)[0], abs=1)
    assert sum(job.rung == 1 for job in jobs if job.trial in lower) == len(lower) // 2
    assert sum(job.rung == 2 for job in jobs if job.trial in lower) == len(lower) // 4
    assert sum(job.rung == 2 for job in jobs if job.trial in upper) == len(upper) // 2


# Growing


def test_rankings_are_the_same_when_each_place_is_held_by_as_good_a_trial():
    assert same_ranking(np.array([3.0, 2.0, 1.0]), np.array([0.6, 0.5, 0.4]), 0.0)
    assert not same_ranking(np.array([3.0, 2.0, 1.0]), np.array([0.5, 0.6, 0.4]), 0.05)
    assert same_ranking(np.array([3.0, 2.0, 1.0]), np.array([0.5, 0.6, 0.4]), 0.11)
    assert same_ranking(np.array([3.0, 2.0]), np.array([0.5, 0.5]), 0.0)  # equal before: either order
    assert same_ranking(np.array([1.0]), np.array([2.0]), 0.0)


def test_noise_is_how_far_apart_those_are_that_overtook_each_other_and_back():
    assert noise(np.array([[1.0, 2.0], [2.0, 1.0]])) == 0.0  # overtaken once: that may be the truth
    assert noise(np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.7]])) == pytest.approx(0.3)
    assert noise(np.array([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.7]])) == pytest.approx(0.3)  # a draw on the way
    assert noise(np.array([[1.0, 2.0, 3.0]])) == 0.0
    assert turns(np.array([[1.0, -1.0, 0.0, 2.0], [1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])).tolist() == [2, 0, 0]


def test_the_trail_looks_at_the_best_only():
    trail = Trail()
    for trial in range(200):
        trail.add(trial, 0, float(trial))
        trail.add(trial, 1, float(trial) if trial % 2 else None)
    best = trail.best(1)
    assert best.shape == (COMPARED, 2)
    assert best[0].tolist() == [199.0, 199.0]
    assert best[-1, -1] == 199.0 - 2 * (COMPARED - 1)


GROWING = Asha(eta=2, first=1 / 16, grow=True)


def test_while_the_ranking_stays_the_same_no_rung_is_added_and_the_best_is_trained_to_the_end():
    jobs = sweep(GROWING, 64, lambda job: float(job.trial % 13))
    counts = [sum(job.rung == at for job in jobs) for at in range(5)]
    assert counts[0] == 64
    assert counts[1] >= 32
    assert counts[2:] == [1, 1, 1]
    assert jobs[-1] == Job(12, 4)


def test_rungs_are_added_while_they_change_the_ranking():
    rng = seeds.rng(1, "test", "growing")
    jobs = sweep(GROWING, 64, lambda job: float(rng.random()))
    assert [sum(job.rung == at for job in jobs) >= 64 // 2**at for at in range(5)] == [True] * 5


def test_growing_costs_less_where_short_trainings_rank_like_long_ones():
    def cost(grow):
        scheduler = Asha(eta=2, first=1 / 16, grow=grow)
        jobs = sweep(scheduler, 200, lambda job: float((job.trial * 37) % 101) + job.rung)
        begins = (0.0, *scheduler.rungs())
        return sum(scheduler.rungs()[job.rung] - begins[job.rung] for job in jobs)

    assert cost(True) < 0.6 * cost(False)


def test_the_last_climb_is_the_best_trials_whatever_bracket_it_is_in():
    course = Asha(eta=3, first=1 / 9, brackets=2).open(5, NOWHERE, 0)
    value = {0: 0.1, 1: 0.901, 2: 0.2, 3: 0.503, 4: 0.904}
    climbs = []
    while (job := course.next()) is not None:
        climbs.append(job)
        course.see(Result(job.trial, job.rung, value[job.trial]))
    assert climbs[-1] == Job(4, 2)


def test_the_last_climb_waits_for_all_results_and_passes_over_those_that_fail():
    course = GROWING.open(4, NOWHERE, 0)
    for trial in range(4):
        assert course.next() == Job(trial, 0)
        course.see(Result(trial, 0, 1.0 - trial / 10))
        if trial % 2:
            assert course.next() == Job(trial // 2, 1)
    assert course.next() is None  # both at the second rung have no result
    course.see(Result(0, 1, 1.0))
    assert course.next() is None
    course.see(Result(1, 1, 0.9))
    assert course.next() == Job(0, 2)
    assert course.next() is None
    course.see(Result(0, 2, None))
    assert course.next() == Job(1, 2)
    course.see(Result(1, 2, 0.5))
    assert course.next() == Job(1, 3)
    course.see(Result(1, 3, None))
    assert course.next() == Job(2, 1)
    course.see(Result(2, 1, 0.1))
    for at in (2, 3, 4):
        assert course.next() == Job(2, at)
        course.see(Result(2, at, 0.1))
    assert course.next() is None
