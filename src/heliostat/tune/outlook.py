"""What a sweep will cost, from sweeps that are simulated with made-up results: jobs, work, time, disk, money. Pure; no Ray.

The scheduler decides as it will; the settings are drawn at random, because a sampler changes which trial is good and hardly
how many are promoted. A trial has a quality of its own, gets better as it trains, and is measured with noise.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from heliostat.artifacts import Spent
from heliostat.core import seeds
from heliostat.tune.config import TuneConfig
from heliostat.tune.decisions import Decisions
from heliostat.tune.proposals import Proposals
from heliostat.tune.samplers.base import Told
from heliostat.tune.schedulers.base import Course, Job, Result
from heliostat.tune.space import Space

SIMULATIONS = 25
MANY_TRIALS = 200
"""Above it one simulation is exact enough, and takes long enough."""
PROBE_TRIALS, SLOW_S, PATIENCE_S = 48, 0.5, 1.0
"""A sweep of so many trials that takes longer than `SLOW_S` of CPU time stands for a larger one; after `PATIENCE_S` no more
are simulated."""
UNKNOWN_SLOTS = 8
EPOCHS = "train.epochs"
GAIN, NOISE = 0.5, 0.1
"""What a whole training adds to a made-up value, and the noise of one; qualities lie between 0 and 1."""


@dataclass(frozen=True)
class Facts:
    """What an outlook is reckoned with; None is not known."""

    slots: int | None = None
    """Trainings side by side."""
    training_s: float | None = None
    """Seconds of one whole training, validations included."""
    state_bytes: int | None = None
    """Checkpoint of a paused trial: trained weights and their optimiser states."""
    best_bytes: int | None = None
    """Checkpoint of a trial's best step: trained weights."""
    cost_per_hour: float | None = None
    epochs: float = 1.0
    """Epochs of the config; a trial with twice as many takes twice as long."""


@dataclass(frozen=True)
class Simulated:
    """One made-up sweep; times are in whole trainings of the config's length."""

    jobs: tuple[Job, ...]
    work: float
    """Times of all jobs."""
    wall: float
    states: int
    """Checkpoints of trials that could go on, or that others could go on from, when they are most."""
    bests: int
    """Trials with a best step, at the end."""


def expected(tune: TuneConfig, facts: Facts, *, seed: int) -> Spent:
    """What the sweep and the confirmation of its finalists will take: the median of a few simulated ones."""
    run, scale = _typical(tune, facts, seed)
    again, wall_s = repetitions(tune), None
    if facts.training_s is not None and facts.slots is not None:
        wall_s = (run.wall * scale + math.ceil(again / _slots(tune, facts))) * facts.training_s
    return Spent(
        jobs=_counts(tune, run, scale),
        trainings=round(trainings(run.jobs, tune.scheduler.rungs()) * scale + again, 6),
        wall_s=None if wall_s is None else round(wall_s, 3),
        checkpoint_bytes=_checkpoint_bytes(tune, facts, round(run.states * scale), round(run.bests * scale)),
        cost=None if wall_s is None or facts.cost_per_hour is None else round(wall_s / 3600 * facts.cost_per_hour, 4),
    )


def expected_jobs(tune: TuneConfig, seed: int = 7) -> int:
    """Jobs of the whole sweep, its finalists' confirmation left out."""
    return sum(_counts(tune, *_typical(tune, Facts(), seed)))


def _counts(tune: TuneConfig, run: Simulated, scale: float) -> tuple[int, ...]:
    """Jobs at each rung."""
    counts = Counter(job.rung for job in run.jobs)
    return tuple(round(counts.get(rung, 0) * scale) for rung in range(len(tune.scheduler.rungs())))


def _typical(tune: TuneConfig, facts: Facts, seed: int) -> tuple[Simulated, float]:
    """(the simulated sweep of median work, how many times as large the sweep is). A scheduler that takes long to decide is simulated
    on few trials, and a sweep of many trials needs one simulation only."""
    probe = tune if tune.trials <= PROBE_TRIALS else _part(tune, PROBE_TRIALS / tune.trials)
    if probe is not tune:
        simulate(probe.model_copy(update={"trials": 1}), facts, seed, 0)  # what a scheduler imports takes time once
    began = time.process_time()
    runs = [simulate(probe, facts, seed, 0)]
    if probe is not tune:
        if time.process_time() - began > SLOW_S:
            return runs[0], tune.trials / PROBE_TRIALS
        runs = [simulate(tune, facts, seed, 0)]
    while len(runs) < (SIMULATIONS if tune.trials <= MANY_TRIALS else 1) and time.process_time() - began < PATIENCE_S:
        runs.append(simulate(tune, facts, seed, len(runs)))
    return sorted(runs, key=lambda run: run.work)[len(runs) // 2], 1.0


def _part(tune: TuneConfig, share: float) -> TuneConfig:
    """A sweep of that share of the trials, with as much of the time and the money."""
    budget = {name: limit * share for name in ("hours", "cost") if (limit := getattr(tune.budget, name)) is not None}
    return tune.model_copy(update={"trials": PROBE_TRIALS, "budget": tune.budget.model_copy(update=budget)})


def repetitions(tune: TuneConfig) -> int:
    """Whole trainings that confirm the finalists."""
    return min(tune.finalists, tune.trials) * (tune.confirm.seeds or tune.confirm.folds or 0) if tune.confirm else 0


def trainings(jobs: Iterable[Job], rungs: Sequence[float]) -> float:
    """Work of jobs, in the order they were issued, in whole trainings: each goes on from where its trial or its parent is."""
    reached: dict[int, float] = {}
    work = 0.0
    for job in jobs:
        work += _share(job, rungs, reached)
        reached[job.trial] = rungs[job.rung]
    return work


def _share(job: Job, rungs: Sequence[float], reached: dict[int, float]) -> float:
    """The part of a whole training that a job does."""
    begins = (rungs[job.rung - 1] if job.rung else 0.0) if job.parent is not None else reached.get(job.trial, 0.0)
    return max(0.0, rungs[job.rung] - begins)


def simulate(tune: TuneConfig, facts: Facts, seed: int, number: int) -> Simulated:
    """One sweep on `facts.slots` slots: jobs end in the order of their length, and nothing begins after the budget of time or money."""
    rungs, rng = tune.scheduler.rungs(), seeds.rng(seed, "outlook", number)
    draws = _Draws(tune.searched(), seeds.derive(seed, "outlook", number))
    decisions = Decisions(_stand_in(tune.scheduler), tune.trials, draws, [], lambda event: None)
    quality, limit = rng.random(tune.trials), _limit(tune, facts)
    reached: dict[int, float] = {}
    running: list[tuple[float, int, Job]] = []
    now = work = 0.0
    free, issued, states = _slots(tune, facts), 0, 0
    paused: set[Job | int] = set()
    while True:
        while free and now < limit and (job := decisions.next()) is not None:
            share = _share(job, rungs, reached) * _length(decisions.settings[job.trial], facts)
            reached[job.trial] = rungs[job.rung]
            heapq.heappush(running, (now + share, issued, job))
            work, free, issued = work + share, free - 1, issued + 1
        if not running:
            break
        now, _, job = heapq.heappop(running)
        free += 1
        if job.rung + 1 < len(rungs):
            paused.add(job if tune.scheduler.exploits else job.trial)
            states = max(states, len(paused))
        else:
            paused.discard(job.trial)
        decisions.finish(job, quality[job.trial % tune.trials] + GAIN * rungs[job.rung] + NOISE * float(rng.standard_normal()), {})
    jobs = tuple(decisions.jobs[:issued])
    return Simulated(jobs, work, now, states, bests=len({job.trial for job in jobs}))


def _stand_in(scheduler: Any) -> Any:
    """What decides in a simulation: a scheduler whose trials copy each other brings all of them to the end, whatever the values."""
    return _ToTheEnd(scheduler) if scheduler.exploits else scheduler


class _ToTheEnd(Course):
    """Every trial to every rung, rung by rung."""

    def __init__(self, scheduler: Any):
        self.scheduler, self.rungs, self.lag = scheduler, scheduler.rungs, scheduler.lag

    def open(self, trials: int, space: Space, seed: int) -> Course:
        self._jobs = (Job(trial, rung) for rung in range(len(self.rungs())) for trial in range(trials))
        return self

    def see(self, result: Result) -> None:
        """Nothing is decided on it."""

    def next(self) -> Job | None:
        return next(self._jobs, None)


def _length(settings: dict[str, object], facts: Facts) -> float:
    """Length of a trial's whole training against the config's."""
    epochs = settings.get(EPOCHS)
    return float(epochs) / facts.epochs if isinstance(epochs, int | float) else 1.0


def _slots(tune: TuneConfig, facts: Facts) -> int:
    return max(1, min(facts.slots or UNKNOWN_SLOTS, tune.side_by_side()))


def _limit(tune: TuneConfig, facts: Facts) -> float:
    """Time, in whole trainings, after which nothing begins."""
    hours = [] if tune.budget.hours is None else [tune.budget.hours]
    if tune.budget.cost is not None and facts.cost_per_hour:
        hours.append(tune.budget.cost / facts.cost_per_hour)
    return min(hours) * 3600 / facts.training_s if hours and facts.training_s else math.inf


def _checkpoint_bytes(tune: TuneConfig, facts: Facts, states: int, bests: int) -> int | None:
    """Largest size of all checkpoints: a state stays until its trial reaches the last rung, a best step until the
    sweep ends, both until the budget of disk is reached."""
    if facts.state_bytes is None or facts.best_bytes is None:
        return None
    sweep = states * facts.state_bytes + bests * facts.best_bytes
    if tune.budget.checkpoint_gb is not None:
        needed = _slots(tune, facts) * (facts.state_bytes + facts.best_bytes) + tune.finalists * facts.best_bytes
        sweep = min(sweep, max(needed, round(tune.budget.checkpoint_gb * 1e9)))
    return sweep + repetitions(tune) * facts.best_bytes


class _Draws(Proposals):
    """Random settings, constraints left out: nothing is learnt from made-up values."""

    def __init__(self, space: Space, seed: int):
        self.space, self.seed = space, seed
        self._rng = seeds.rng(seed, "settings")

    def tell(self, trial: Told) -> None:
        """Nothing is decided on it."""

    def settings(self, number: int) -> dict[str, object]:
        return self.space.at(self._rng.random(len(self.space.dimensions)))
