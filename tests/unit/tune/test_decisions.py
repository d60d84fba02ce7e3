"""Decisions: with a fixed lag a sweep is the same sweep, whatever the timing, the width, or how often it was killed."""

import copy
import random

import pytest

from heliostat.core import seeds
from heliostat.core.errors import RunFailed
from heliostat.tune.decisions import Decisions
from heliostat.tune.proposals import Proposals
from heliostat.tune.samplers.base import Base as Sampler
from heliostat.tune.samplers.base import Proposer
from heliostat.tune.schedulers.asha import Asha
from heliostat.tune.schedulers.base import Course, Job, Reproducible, Result
from heliostat.tune.schedulers.full import Full
from heliostat.tune.space import parse_space

TRIALS = 17
SPACE = parse_space({"a": {"uniform": [0, 1]}, "b": {"int": [1, 1000]}})


class Learning(Sampler):
    """Settings that depend on all that was told, in its order."""

    def open(self, space, trials, seed):
        return _Learned(space)


class _Learned(Proposer):
    def __init__(self, space):
        self.space, self.heard = space, 0

    def tell(self, trial):
        self.heard = hash((self.heard, trial.number, tuple(sorted(trial.values.items())), trial.state))

    def suggest(self, number, rng):
        return {"a": float(f"{rng.random():.6g}"), "b": 1 + self.heard % 1000}


class Swapping(Reproducible):
    """A population of three rungs in which who is worse than trial 0 copies it and gets other settings."""

    exploits = True

    def rungs(self):
        return (0.25, 0.5, 1.0)

    def open(self, trials, space, seed):
        return _Swaps(trials)


class _Swaps(Course):
    def __init__(self, trials):
        self.trials, self.started, self.seen, self.ready, self.settings = trials, 0, {}, [], {}

    def see(self, result):
        self.seen[result.trial, result.rung] = result.value
        if result.value is not None and result.rung < 2:
            self.ready.append(result)

    def begun(self, trial, settings):
        self.settings[trial] = settings

    def next(self):
        if self.started < self.trials:
            self.started += 1
            return Job(self.started - 1, 0)
        if not self.ready:
            return None
        result = self.ready.pop(0)
        best = self.seen.get((0, result.rung))
        if result.trial == 0 or best is None or result.value >= best:
            return Job(result.trial, result.rung + 1)
        copied = {"a": self.settings[0]["a"] / 2, "b": self.settings[result.trial]["b"]}
        return Job(result.trial, result.rung + 1, parent=0, settings=copied)


def decide(scheduler, trials, events, write):
    return Decisions(scheduler, trials, Proposals(Learning(), SPACE, trials, 7), events, write)


def value_of(job, seed):
    """What a job gives: a pure function of the job; one in five is not a number."""
    rng = seeds.rng(seed, "test", "value", job.trial, job.rung)
    return None if rng.random() < 0.2 else float(rng.random())


def sweep(scheduler, seed, *, slots, timing, events=None, losses=0.0, trials=TRIALS, until=None):
    """Run a simulated sweep: (its events, jobs that were run, most jobs outstanding at once).

    `timing` seeds the order in which running jobs finish; `losses` is the share of jobs that are lost and run again.
    """
    clock, events = random.Random(timing), events if events is not None else []
    decisions = decide(scheduler, trials, list(events), events.append)
    running, ran, outstanding = [], [], 0
    while not decisions.done:
        while len(running) < slots and (job := decisions.next()) is not None:
            running.append(job)
        assert len(running) == decisions.running
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


def decided(events):
    """The jobs with their parents and settings, in order."""
    return [event for event in events if event["event"] == "job"]


def keys(events):
    return [(event["trial"], event["rung"]) for event in decided(events)]


KINDS = {
    "asha": Asha,
    "brackets": lambda **lag: Asha(brackets=3, **lag),
    "growing": lambda **lag: Asha(first=1 / 16, grow=True, **lag),
    "swapping": Swapping,
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.mark.parametrize("lag", [0, 1, 3, 8])
def test_the_same_jobs_with_the_same_settings_in_the_same_order_whatever_the_timing(kind, lag):
    for seed in range(2):
        scheduler = kind(decision_lag=lag)
        expected = decided(sweep(scheduler, seed, slots=1, timing=0)[0])
        for slots in (2, 4, 50):
            for timing in range(2):
                events, ran, outstanding = sweep(scheduler, seed, slots=slots, timing=timing, losses=0.15)
                assert decided(events) == expected
                assert sorted(job.key for job in ran) == sorted(keys(expected))
                assert outstanding <= lag + 1


def test_a_wide_enough_sweep_does_use_its_lag():
    assert sweep(Asha(decision_lag=3), 1, slots=50, timing=1)[2] == 4


def test_a_sweep_that_is_killed_at_any_event_goes_on_to_the_same_end_and_repeats_nothing(kind):
    whole, _, _ = sweep(kind(), 0, slots=3, timing=0)
    for cut in range(len(whole) + 1):
        events = copy.deepcopy(whole[:cut])
        finished = {(e["trial"], e["rung"]) for e in events if e["event"] == "result"}
        events, ran, _ = sweep(kind(), 0, slots=2, timing=cut, events=events)
        assert decided(events) == decided(whole)
        assert sorted(job.key for job in ran) == sorted(set(keys(whole)) - finished)


def test_a_sweep_that_is_killed_again_and_again_ends(kind):
    whole, _, _ = sweep(kind(), 3, slots=1, timing=0)
    events, rounds = [], 0
    while len(events) < len(whole):
        events, _, _ = sweep(kind(), 3, slots=4, timing=rounds, events=events, until=len(events) + 3)
        rounds += 1
    assert decided(events) == decided(whole)
    assert rounds > 5


@pytest.mark.parametrize("failing", [True, False])
def test_a_job_that_fails_or_is_lost_leaves_no_imaginary_slot_taken(failing):
    """A failure shows when its share has passed by the clock, as a value would; afterwards all places are used again."""
    decisions = decide(Asha(decision_lag=3, first=1.0), 40, [], lambda event: None)
    running = [decisions.next() for _ in range(4)]
    for _ in range(5):
        for job in running:
            if failing:
                decisions.finish(job, None, {})
            else:
                decisions.requeue(job)
        assert decisions.running == 0
        running = [decisions.next() for _ in range(4)]
        assert None not in running
        assert decisions.next() is None
        assert len(decisions._clock) == 4


def test_without_a_lag_a_sweep_is_as_wide_as_its_slots_and_every_trial_runs(kind):
    for scheduler in (kind(decision_lag=None), Full()):
        for seed in range(3):
            events, ran, outstanding = sweep(scheduler, seed, slots=9, timing=seed, losses=0.1)
            assert {trial for trial, _ in keys(events)} == set(range(TRIALS))
            assert len(set(keys(events))) == len(keys(events)) == len(ran)
            assert outstanding == 9


def test_without_a_lag_a_killed_sweep_goes_on_with_the_same_state(kind):
    """What is left is decided as it would have been: one slot after the kill, in the order of the ledger."""
    whole, _, _ = sweep(kind(decision_lag=None), 2, slots=5, timing=7)
    for cut in range(0, len(whole) + 1, 5):
        events, _, _ = sweep(kind(decision_lag=None), 2, slots=5, timing=cut, events=copy.deepcopy(whole[:cut]))
        assert events[:cut] == whole[:cut]
        assert {trial for trial, _ in keys(events)} == set(range(TRIALS))
        assert len([e for e in events if e["event"] == "result"]) == len(decided(events))
    straight, _, _ = sweep(kind(decision_lag=None), 2, slots=1, timing=0)
    for cut in range(0, len(straight) + 1, 3):
        events, _, _ = sweep(kind(decision_lag=None), 2, slots=1, timing=0, events=copy.deepcopy(straight[:cut]))
        assert events == straight


def test_settings_change_where_the_scheduler_changes_them_and_replay_keeps_the_ledgers():
    events, _, _ = sweep(Swapping(), 1, slots=1, timing=0)
    changed = [event for event in decided(events) if "parent" in event]
    assert changed
    assert all(event["parent"] == 0 for event in changed)
    again = decide(Swapping(), TRIALS, copy.deepcopy(events), pytest.fail)
    last = {event["trial"]: event["settings"] for event in decided(events) if "settings" in event}
    assert again.settings == last == again.course.settings
    assert [job for job in again.jobs if job.parent is not None] == [
        Job(e["trial"], e["rung"], parent=0, settings=e["settings"]) for e in changed
    ]
    rounded = copy.deepcopy(events)
    event = next(event for event in rounded if "parent" in event)
    event["settings"]["a"] += 1e-12
    replayed = decide(Swapping(), TRIALS, rounded, pytest.fail)
    assert Job(event["trial"], event["rung"], parent=0, settings=event["settings"]) in replayed.jobs


def test_a_job_is_on_record_before_it_is_given_and_a_result_before_it_is_seen():
    record = []
    decisions = decide(Asha(decision_lag=0), 4, [], record.append)
    job = decisions.next()
    assert record == [{"event": "job", "trial": 0, "rung": 0, "settings": decisions.settings[0]}]
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
    decisions = decide(Full(), 1, [], record.append)
    decisions.finish(decisions.next(), 0.5, {"busy_s": 2.0})
    assert record[-1] == {"event": "result", "trial": 0, "rung": 0, "value": 0.5, "busy_s": 2.0}
    assert decisions.done


def test_the_sampler_hears_of_every_change_with_all_that_is_known():
    heard, decisions = [], decide(Asha(decision_lag=0), 2, [], lambda event: None)
    decisions.proposals.tell = heard.append
    decisions.finish(decisions.next(), 0.4, {})
    decisions.finish(decisions.next(), None, {})
    decisions.finish(decisions.next(), 0.6, {})
    decisions.finish(decisions.next(), 0.7, {})
    assert decisions.done
    known = [(told.number, told.values, told.state) for told in heard]
    assert known == [
        (0, {}, "running"),
        (0, {0: 0.4}, "paused"),
        (1, {}, "running"),
        (1, {}, "failed"),
        (0, {0: 0.4}, "running"),
        (0, {0: 0.4, 1: 0.6}, "paused"),
        (0, {0: 0.4, 1: 0.6}, "running"),
        (0, {0: 0.4, 1: 0.6, 2: 0.7}, "completed"),
    ]
    assert all(told.settings == decisions.settings[told.number] for told in heard)


def test_a_lost_job_comes_before_any_new_one_and_is_not_issued_twice():
    record = []
    decisions = decide(Full(), 3, [], record.append)
    first, second = decisions.next(), decisions.next()
    decisions.requeue(first)
    assert decisions.running == 1
    assert decisions.next() == first
    assert decisions.next() == Job(2, 0)
    assert keys(record) == [(0, 0), (1, 0), (2, 0)]
    assert not decisions.done
    for job in (second, first, Job(2, 0)):
        decisions.finish(job, 0.1, {})
    assert decisions.done


def test_stopping_lets_running_jobs_finish_and_starts_none():
    decisions = decide(Full(), 9, [], lambda event: None)
    first, second = decisions.next(), decisions.next()
    decisions.finish(first, None, {})
    decisions.stop()
    assert decisions.next() is None
    assert not decisions.done
    decisions.finish(second, 0.5, {})
    assert decisions.done


def test_a_stopped_sweep_ends_even_when_a_job_is_lost():
    decisions = decide(Full(), 9, [], lambda event: None)
    first, second = decisions.next(), decisions.next()
    decisions.finish(first, None, {})
    decisions.stop()
    decisions.requeue(second)
    assert decisions.next() is None
    assert decisions.done


def opened(*keys):
    return [{"event": "job", "trial": trial, "rung": rung, "settings": {"a": 0.5, "b": 2}} for trial, rung in keys]


def test_a_sweep_that_is_stopped_after_a_kill_ends_though_jobs_of_then_are_open():
    decisions = decide(Full(), 9, opened((0, 0), (1, 0), (2, 0)), lambda event: None)
    assert decisions.settings[2] == {"a": 0.5, "b": 2}
    decisions.finish(decisions.next(), None, {})
    decisions.stop()
    assert decisions.next() is None
    assert decisions.done


RESULT = {"event": "result", "trial": 0, "rung": 0, "value": 0.5}


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (opened((0, 0), (2, 0)), "a job of trial 2 at rung 0, where trial 1 at rung 0 follows"),
        (opened((0, 0), (0, 1)), "a job of trial 0 at rung 1, where trial 1 at rung 0 follows"),
        ([*opened((0, 0)), RESULT | {"rung": 1}], "a result of trial 0 at rung 1, where no job follows"),
        (opened((0, 0), (1, 0), (2, 0), (3, 0)), "a job of trial 3 at rung 0, where no job follows"),  # its lag was larger
        ([{"event": "job", "trial": 0, "rung": 0}], "a job of trial 0 at rung 0"),  # without settings
        ([opened((0, 0))[0] | {"parent": 4}], "a job of trial 0 at rung 0"),
    ],
)
def test_a_ledger_of_another_scheduler_is_refused(events, said):
    with pytest.raises(RunFailed, match=f"{said}.*start again with --replace"):
        decide(Asha(decision_lag=2), TRIALS, events, pytest.fail)


def test_a_result_of_a_long_sweep_costs_what_one_of_a_short_sweep_does():
    """Counted in what is asked of the course: not more per job than a few questions."""

    class Counting(_Swaps):
        asked = 0

        def next(self):
            Counting.asked += 1
            return super().next()

    for trials in (50, 500):
        decisions = decide(Asha(), trials, [], lambda event: None)
        decisions.course = Counting(trials)
        Counting.asked = 0
        while not decisions.done:
            job = decisions.next()
            decisions.finish(job, value_of(job, 1), {})
        assert Counting.asked < 4 * len(decisions.jobs)


def test_results_are_what_the_jobs_gave():
    decisions = decide(Full(), 2, [], lambda event: None)
    first, second = decisions.next(), decisions.next()
    decisions.finish(second, 0.2, {})
    decisions.finish(first, None, {})
    assert decisions.results == {1: Result(1, 0, 0.2), 0: Result(0, 0, None)}
