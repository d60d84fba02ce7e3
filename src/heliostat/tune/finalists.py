"""The best trials of a sweep: trained again with other seeds or on folds when the config asks for it, exported, verified.

Repetition r of every finalist has the same seed, or holds out the same fold, so that finalists are compared in pairs.
"""

from __future__ import annotations

import math
import shutil
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from heliostat.artifacts import Confirmation, Confirmed, Interval, Model, Trial
from heliostat.core import seeds
from heliostat.core.errors import RunFailed
from heliostat.engine.orders import Reply
from heliostat.train.batching import batches
from heliostat.train.orders import Export, Train
from heliostat.train.reached import best_step
from heliostat.train.stage import exported
from heliostat.train.starting import rows_of
from heliostat.tune.config import Confirm
from heliostat.tune.room import PARTS, trial_name
from heliostat.tune.running import Running
from heliostat.tune.schedulers.base import Job
from heliostat.tune.weighing import Weighing

CONFIRM = "confirm"
CONFIDENCE = 0.95
ROUNDING = 1e-9
"""Differences that are nearer to each other than this are the same."""


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that gave a number and did not fail, best first; ties go to the lower number."""
    able = [t for t in trials if t.value is not None and t.state != "failed"]
    return sorted(able, key=lambda t: (-float(t.value or 0.0), t.number))


def confirm(run: Running, finalists: list[Trial]) -> tuple[Confirmation | None, list[Trial]]:
    """(what training the finalists again showed, those who still are finalists, best first); None when the config does not ask for it, or
    the budget did not last."""
    settings = run.config.confirm
    if settings is None or not finalists:
        return None, finalists
    from heliostat.engine import trials

    wanted = Repetitions(run, settings, [t.number for t in finalists])
    if not wanted.done:
        most = min(len(wanted.waiting), run.config.side_by_side())
        trials.Sweep(wanted, run.ctx.engine, most=most, order_for=wanted.order_for, record=wanted.record, stop=run.stop).run()
    values = wanted.whole()
    if values is None:
        run.ctx.show.message(f"the budget of {run.ended} ended before each finalist was trained again twice: none is confirmed")
        return None, [trial for trial in finalists if trial.number not in wanted.out]
    share = 1.0 / (settings.folds - 1) if settings.folds else 0.0
    shown = concluded(values, settings, weighing=run.weighing.deciding, held_out_share=share)
    by_number = {trial.number: trial for trial in finalists}
    return shown, [by_number[confirmed.trial] for confirmed in shown.finalists]


@dataclass(frozen=True)
class Measured:
    """What one repetition gave."""

    value: float
    """The sweep's metric at its best validated step."""
    objectives: dict[str, float] = field(default_factory=dict)
    """Those that have a weight or a limit, there."""


class Repetitions:
    """The trainings of a confirmation, as `trials.Sweep` wants its decisions; what is on the ledger is not done again."""

    def __init__(self, run: Running, confirm: Confirm, numbers: list[int]):
        self.run, self.confirm, self.numbers = run, confirm, numbers
        self.count = confirm.folds or confirm.seeds or 0
        self.values: dict[tuple[int, int], Measured | None] = {
            (e["trial"], e["rep"]): _measured(e) for e in run.ledger.read() if e["event"] == CONFIRM
        }
        """By (trial, repetition); None where it diverged."""
        jobs = [Job(number, rep) for rep in range(self.count) for number in numbers]
        self.waiting = deque(job for job in jobs if job.key not in self.values)
        self.total = len(jobs)
        self._let_go()
        for trial, rep in self.values:
            self._forget(trial, rep)

    def _let_go(self) -> None:
        """What has diverged is not trained again any more."""
        out, waited = self.out, len(self.waiting)
        self.waiting = deque(job for job in self.waiting if job.trial not in out)
        self.total -= waited - len(self.waiting)

    @property
    def out(self) -> set[int]:
        """Trials that diverged when they were trained again: they are no finalists any more."""
        return {number for (number, _), value in self.values.items() if value is None}

    def next(self) -> Job | None:
        return self.waiting.popleft() if self.waiting else None

    def requeue(self, job: Job) -> None:
        self.waiting.append(job)

    @property
    def done(self) -> bool:
        return not self.waiting

    def order_for(self, job: Job) -> Train:
        """A whole training of a finalist, with the seed or the fold of its repetition."""
        run, rep = self.run, job.rung
        key = f"{CONFIRM}-{trial_name(job.trial)}-{rep}"
        if self.confirm.folds is None:
            fields = run.again(job.trial, key, seed=seeds.derive(run.ctx.seed, CONFIRM, rep))
        else:
            fold = (rep, self.confirm.folds, seeds.derive(run.ctx.seed, "folds"))
            fields = run.again(job.trial, key, seed=run.seed_of(job.trial), fold=fold)
            seen, _ = rows_of(fields["train_rows"], fields["valid_rows"], fold)
            fields["total"] = batches(fields["train"], seen, fields["seed"]).steps(fields["train"].epochs)
        return Train(**fields, until=fields["total"], resumable=False, threads=run.threads)

    def record(self, job: Job, reply: Reply) -> None:
        """A repetition is over. A finalist that diverges in one is none; any other failure fails the run, which may go on from here."""
        if reply.error is not None and reply.reason != "diverged":
            raise RunFailed(f"confirming trial {job.trial}: repetition {job.rung} failed: {reply.error}")
        best = (None if reply.error is not None else reply.value["best"]) or {"value": None}
        value, numbers = best["value"], best.get("objectives", {})
        facts = {"value": value, "busy_s": reply.seconds if value is None else reply.value["busy_s"], "wall_s": round(self.run.wall_s, 3)}
        event = {"event": CONFIRM, "trial": job.trial, "rep": job.rung, **facts, **({"objectives": numbers} if numbers else {})}
        self.run.ledger.append(event)
        self.values[job.key] = _measured(event)
        self._forget(job.trial, job.rung)
        if value is None:
            self.run.ctx.show.message(f"trial {job.trial:04d} is no finalist any more: trained again, it has no value: {reply.error}")
            self._let_go()
        told = "diverged" if value is None else f"{value:.4f}"
        self.run.ctx.show.update(self.run.ctx.name, len(self.values), self.total, "repetitions", f"trial {job.trial:04d}: {told}")

    def _forget(self, trial: int, rep: int) -> None:
        """The checkpoints of a repetition that is on the ledger: nobody asks for them."""
        folder = self.run.ctx.folder / f"{CONFIRM}-{trial_name(trial)}-{rep}"
        self.run.room.beside([folder])
        for part in PARTS:
            shutil.rmtree(folder / part, ignore_errors=True)

    def whole(self) -> dict[int, list[Measured]] | None:
        """What each finalist gave that never diverged, as often as all of them did; None when that is fewer than twice."""
        left = [number for number in self.numbers if number not in self.out]
        if not left:
            raise RunFailed("no finalist could be trained again: each diverged in one repetition. Lower the rates in tune.space.")
        made = next((r for r in range(self.count) if any((n, r) not in self.values for n in left)), self.count)
        if made < 2:
            return None
        return {n: [found for r in range(made) if (found := self.values[n, r]) is not None] for n in left}


def _measured(event: dict[str, Any]) -> Measured | None:
    return None if event["value"] is None else Measured(float(event["value"]), event.get("objectives", {}))


def concluded(found: dict[int, list[Measured]], confirm: Confirm, *, weighing: Weighing, held_out_share: float) -> Confirmation:
    """Means with intervals, best first, and whether the first is better than the second.

    They are ranked as trials are, by what their means weigh: one whose means are beyond a limit is behind all that keep it.
    `held_out_share` is test rows over training rows of a fold (0 for seeds): folds share training rows, so their variance is
    corrected as Nadeau and Bengio (2003) do.
    """
    values = {n: [one.value for one in every] for n, every in found.items()}
    means = {
        n: {name: float(np.mean([one.objectives[name] for one in every])) for name in weighing.objectives} for n, every in found.items()
    }
    order = sorted(found, key=lambda n: (-weighing.value(float(np.mean(values[n])), means[n]), n))
    finalists = tuple(
        Confirmed(
            trial=n,
            values=tuple(values[n]),
            mean=interval(values[n], held_out_share),
            objectives=means[n],
            within=not weighing.beyond(means[n]),
        )
        for n in order
    )
    p_value = None
    if len(order) > 1 and finalists[0].within and finalists[1].within:
        first, second = ([weighing.weighed(one.value, one.objectives) for one in found[n]] for n in order[:2])
        p_value = paired_p_value(np.subtract(first, second), held_out_share)
    how: Any = "folds" if confirm.folds else "seeds"
    return Confirmation(how=how, finalists=finalists, p_value=p_value, significant=p_value is not None and p_value < confirm.alpha)


def interval(values: Sequence[float], held_out_share: float) -> Interval:
    """Mean of repetitions with its 95 % interval (Student's t, variance corrected for shared training rows)."""
    from scipy import stats

    count, mean = len(values), float(np.mean(values))
    half = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * float(np.std(values, ddof=1)) * math.sqrt(1 / count + held_out_share)
    return Interval(value=mean, low=mean - half, high=mean + half)


def paired_p_value(differences: np.ndarray, held_out_share: float) -> float:
    """Two-sided p-value of the paired t-test that the mean difference is 0 (corrected resampled t-test for folds).

    Differences that are all alike, which scores of few rows often are, have no spread to compare with: the sign test's, 2^(1 - n).
    """
    from scipy import stats

    count, mean = len(differences), float(np.mean(differences))
    spread = float(np.std(differences, ddof=1)) * math.sqrt(1 / count + held_out_share)
    if spread <= ROUNDING * max(1.0, abs(mean)):
        return 1.0 if abs(mean) <= ROUNDING else 2.0 ** (1 - count)
    return float(2 * stats.t.sf(abs(mean) / spread, count - 1))


def export(run: Running, finalists: list[Trial]) -> list[Model]:
    """The finalists' models at their best step, exported and verified, in the order given."""
    engine, folder = run.ctx.engine, run.ctx.folder
    outs = [folder / "models" / trial_name(t.number) for t in finalists]
    fields = [run.fields(t.number, run.decisions.tried[t.number]) for t in finalists]
    for own, trial in zip(fields, finalists, strict=True):
        until = run.steps(own, trial.rung - 1)
        if best_step(own["folder"], own["settings"], until) is None:
            # its weights went with the disk budget, or are of a time before the ledger was put back: the same ones are made again
            (own["folder"] / "result.json").unlink(missing_ok=True)
            engine.perform(Train(**own, until=until, resumable=False, threads=run.threads))
    replies = engine.perform_all([Export(**own, out=out) for own, out in zip(fields, outs, strict=True)])
    return [
        exported(own, out, reply.value, name=out.name, stage=run.ctx.name, fingerprint=f"{run.ctx.fingerprint}/best-{rank}")
        for rank, (own, out, reply) in enumerate(zip(fields, outs, replies, strict=True))
    ]
