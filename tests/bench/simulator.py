"""Sweeps over a table of real learning curves, in simulated time: the schedulers are real, only the trainings are looked up.

A slot takes one leg of a training at a time. A leg costs its share of the training's own measured seconds, and a fixed
overhead when the slot did not just run the same trial. Two sweeps of the same seed try the same rows in the same order.
"""

from __future__ import annotations

import heapq
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from heliostat.core import seeds
from heliostat.tune.decisions import Decisions
from heliostat.tune.proposals import Proposals
from heliostat.tune.samplers.base import Base as Sampler
from heliostat.tune.samplers.base import Proposer
from heliostat.tune.schedulers.base import Base as Scheduler
from heliostat.tune.schedulers.base import Job
from heliostat.tune.space import Space, parse_space

NONE = 65_535
"""In the table's scores: there is none."""


@dataclass(frozen=True)
class Curves:
    """Real trainings: N rows, P equally spaced points of each."""

    scores_NP: np.ndarray
    """Validation score, larger is better; NaN where the training had diverged."""
    seconds_N: np.ndarray
    """Time of the whole training; of a diverged one, what it would have taken."""
    lived_N: np.ndarray
    """Share of the training after which its loss was no number; 1 for all of it."""
    space: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    """Per path of the space, [N]: the value, or the place of a choice; NaN where the path does not exist."""

    def __len__(self) -> int:
        return len(self.seconds_N)

    def top(self, share: float) -> frozenset[int]:
        """The rows whose score at the end is among the best `share` of all rows; ties with the last of them are in."""
        final_N = np.nan_to_num(self.scores_NP[:, -1], nan=-math.inf)
        return frozenset(np.flatnonzero(final_N >= np.sort(final_N)[-max(1, round(share * len(self)))]).tolist())

    def value(self, row: int, share: float) -> float | None:
        """The score when `share` of the training is done; None when it is no number."""
        points = share * self.scores_NP.shape[1]
        assert abs(points - round(points)) < 1e-6, f"{share} of a training is not a point of the table"
        score = float(self.scores_NP[row, round(points) - 1])
        return None if math.isnan(score) else score

    def settings(self, row: int, space: Space) -> dict[str, Any]:
        """What a row tried."""
        told: dict[str, Any] = {}
        for path, dimension in space.dimensions.items():
            value = float(self.columns[path][row])
            if not math.isnan(value):
                told[path] = dimension.choices[round(value)] if dimension.choices else dimension.nearest(value)
        return told

    def broken(self, share: float, before: float, seed: int) -> Curves:
        """The same trainings, of which a random `share` turn NaN at a random time in their first `before`."""
        rng, points = seeds.rng(seed, "bench", "broken"), self.scores_NP.shape[1]
        lived_N = self.lived_N.copy()
        hit = rng.permutation(len(self))[: round(share * len(self))]
        lived_N[hit] = np.minimum(lived_N[hit], rng.random(len(hit)) * before)
        gone_NP = np.arange(1, points + 1)[None] / points > lived_N[:, None] + 1e-9
        return replace(self, scores_NP=np.where(gone_NP, np.nan, self.scores_NP), lived_N=lived_N)


def load(file: Path) -> Curves:
    """The table that make_curves.py writes; scores as whole numbers of right rows."""
    with np.load(file) as table:
        scores_NP = np.where(table["right"] == NONE, np.nan, table["right"].astype(float))
        space = json.loads(str(table["space"]))
        columns = {path: table[path] for path in space}
        return Curves(scores_NP, table["seconds"].astype(float), table["lived"].astype(float), space, columns)


def order(curves: Curves, seed: int) -> np.ndarray:
    """The rows in the order in which trials of a sweep try them."""
    return seeds.rng(seed, "bench", "order").permutation(len(curves))


@dataclass(frozen=True)
class Leg:
    """Train `trial`, which tries `row`, from one share of a training to another."""

    trial: int
    row: int
    begin: float
    end: float
    job: Job | None = None


class Contest(ABC):
    """A sweep over the table: it says what a slot does next and is told what came of it."""

    stops_nan: bool = True
    """A training whose loss is no number ends at that step; otherwise it is trained on."""

    @abstractmethod
    def next(self, before: int | None) -> Leg | None:
        """What a free slot, that just ran trial `before`, does next; None while there is nothing."""

    @abstractmethod
    def finish(self, leg: Leg, value: float | None) -> None:
        """A leg has this value."""


class Ours(Contest):
    """A scheduler of this project, asked through `Decisions` as a sweep asks it."""

    def __init__(self, curves: Curves, scheduler: Scheduler, seed: int, sampler: Sampler | None = None):
        self.shares = scheduler.rungs()
        self.at: dict[int, float] = {}
        self.rows = order(curves, seed).tolist() if sampler is None else []
        proposals = NearestRows(sampler, curves, seed, self.rows) if sampler else Proposals(InOrder(), NUMBERS, len(curves), seed)
        self.ledger: list[dict[str, Any]] = []
        self.decisions = Decisions(scheduler, len(curves), proposals, [], self.ledger.append)

    def next(self, before: int | None) -> Leg | None:
        job = self.decisions.next()
        if job is None:
            return None
        return Leg(job.trial, self.rows[job.trial], self.at.get(job.trial, 0.0), self.shares[job.rung], job)

    def finish(self, leg: Leg, value: float | None) -> None:
        self.at[leg.trial] = leg.end
        assert leg.job is not None
        self.decisions.finish(leg.job, value, {})


class RayAsha(Contest):
    """Ray Tune's own AsyncHyperBandScheduler, driven as its controller does: a trial keeps its slot until it is told to stop.

    Its answer to NaN is CONTINUE: `nan < cutoff` is false. The trial goes on to its end.
    """

    stops_nan = False

    def __init__(self, curves: Curves, seed: int, *, eta: int, first_points: int):
        from ray.tune.schedulers import AsyncHyperBandScheduler

        points = curves.scores_NP.shape[1]
        self.stock = AsyncHyperBandScheduler("point", "score", "max", max_t=points, grace_period=first_points, reduction_factor=eta)
        milestones = [first_points * eta**k for k in range(points) if first_points * eta**k < points]
        self.shares, self.points = [m / points for m in milestones] + [1.0], points
        self.rows, self.begun = order(curves, seed).tolist(), 0
        self.going: dict[int, int] = {}
        """Trial that shall go on to the leg that it does next."""

    def next(self, before: int | None) -> Leg | None:
        if before is not None and before in self.going:
            at = self.going.pop(before)
            return Leg(before, self.rows[before], self.shares[at - 1], self.shares[at])
        if self.begun == len(self.rows):
            return None
        self.begun += 1
        self.stock.on_trial_add(None, _ray_trial(self.begun - 1))
        return Leg(self.begun - 1, self.rows[self.begun - 1], 0.0, self.shares[0])

    def finish(self, leg: Leg, value: float | None) -> None:
        score = math.nan if value is None else value
        answer = self.stock.on_trial_result(None, _ray_trial(leg.trial), {"point": round(leg.end * self.points), "score": score})
        if answer == self.stock.CONTINUE:
            self.going[leg.trial] = self.shares.index(leg.end) + 1


class Oracle(Contest):
    """The limit of every scheduler with this first rung: it knows after it which trials are wanted, and trains those on and no others."""

    def __init__(self, curves: Curves, seed: int, *, first: float, wanted: frozenset[int]):
        self.first, self.wanted, self.rows, self.begun = first, wanted, order(curves, seed).tolist(), 0
        self.going: set[int] = set()
        """Trials that shall go on."""

    def next(self, before: int | None) -> Leg | None:
        if before is not None and before in self.going:
            self.going.remove(before)
            return Leg(before, self.rows[before], self.first, 1.0)
        if self.begun == len(self.rows):
            return None
        self.begun += 1
        return Leg(self.begun - 1, self.rows[self.begun - 1], 0.0, self.first)

    def finish(self, leg: Leg, value: float | None) -> None:
        if leg.end == self.first and leg.row in self.wanted:
            self.going.add(leg.trial)


def _ray_trial(number: int) -> Any:
    return SimpleNamespace(trial_id=f"{number:05d}")


NUMBERS = parse_space({"number": {"int": [0, 1_000_000]}})


class InOrder(Sampler):
    """Trial n tries the n-th row, whatever is known."""

    def open(self, space: Space, trials: int, seed: int) -> Proposer:
        return _Numbers()


class _Numbers(Proposer):
    def suggest(self, number: int, rng: np.random.Generator) -> dict[str, Any]:
        return {"number": number}


class NearestRows(Proposals):
    """A sampler's settings, each replaced by those of the nearest row that was not tried: what can be known is in the table."""

    def __init__(self, sampler: Sampler, curves: Curves, seed: int, tried: list[int]):
        super().__init__(sampler, parse_space(curves.space), len(curves), seed)
        self.known = [curves.settings(row, self.space) for row in range(len(curves))]
        self.places_ND = np.array([places(settings, self.space) for settings in self.known])
        self.choice_D = np.array([dimension.kind == "choice" for dimension in self.space.dimensions.values()])
        self.tried = tried

    def settings(self, number: int) -> dict[str, Any]:
        apart_ND = np.abs(self.places_ND - places(super().settings(number), self.space))
        apart_ND = np.where(self.choice_D, apart_ND > 1e-9, np.nan_to_num(apart_ND))
        apart_N = np.square(apart_ND).sum(1)
        apart_N[self.tried] = math.inf
        self.tried.append(int(apart_N.argmin()))
        return self.known[self.tried[-1]]


def places(settings: dict[str, Any], space: Space) -> np.ndarray:
    """[D]: the place of each value in [0, 1]; NaN where the dimension does not exist."""
    return np.array([d.place(settings[path]) if path in settings else math.nan for path, d in space.dimensions.items()])


@dataclass(frozen=True)
class Outcome:
    """What a simulated sweep came to when it ended."""

    seconds: float
    legs: list[tuple[Leg, float | None]]
    """Every leg that ended, in the order of their ends, with its value."""
    busy_s: float
    """Slot time until then, overheads included."""


def simulate(contest: Contest, curves: Curves, *, slots: int, overhead_s: float, until: Callable[[Leg, float | None], bool]) -> Outcome:
    """Run `contest` on `slots` until a leg that ends satisfies `until`, or until nothing is left to do."""
    now, busy, legs = 0.0, 0.0, []
    held: dict[int, int | None] = dict.fromkeys(range(slots))
    """Free slot to the trial that it ran last."""
    running: list[tuple[float, int, int, Leg]] = []
    while True:
        for slot, leg in handed_out(contest, held):
            cost = cost_s(leg, curves, contest.stops_nan) + (overhead_s if held.pop(slot) != leg.trial else 0.0)
            busy += cost
            heapq.heappush(running, (now + cost, len(legs) + len(running), slot, leg))
        if not running:
            return Outcome(now, legs, busy)
        now, _, slot, leg = heapq.heappop(running)
        value = curves.value(leg.row, leg.end)
        legs.append((leg, value))
        contest.finish(leg, value)
        held[slot] = leg.trial
        if until(leg, value):
            return Outcome(now, legs, busy - sum(end - now for end, *_ in running))


def handed_out(contest: Contest, held: dict[int, int | None]) -> Iterator[tuple[int, Leg]]:
    """Legs for the free slots; one goes to the slot that just ran its trial, when that one is free."""
    waiting = list(held)
    while waiting:
        leg = contest.next(held[waiting[0]])
        if leg is None:
            waiting.pop(0)
            continue
        slot = next((s for s in waiting if held[s] == leg.trial), waiting[0])
        waiting.remove(slot)
        yield slot, leg


def cost_s(leg: Leg, curves: Curves, stops_nan: bool) -> float:
    """Training time of a leg; one that diverges ends there when it is stopped."""
    end = min(leg.end, max(leg.begin, float(curves.lived_N[leg.row]))) if stops_nan else leg.end
    return float(curves.seconds_N[leg.row]) * (end - leg.begin)
