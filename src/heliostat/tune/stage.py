"""The sweep: warm gangs, decisions on a ledger, the best trials confirmed and exported. A finished trial is never run again."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import Any

from heliostat.artifacts import Confirmation, Corpus, Model, Spent, Sweep, Trial
from heliostat.core.errors import RunFailed, UserError
from heliostat.core.manifest import read_json
from heliostat.core.workspace import Context
from heliostat.train.config import TrainConfig
from heliostat.tune import finalists as final
from heliostat.tune import outlook, weighing
from heliostat.tune.config import VERSION, TuneConfig
from heliostat.tune.importance import importance
from heliostat.tune.room import PARTS
from heliostat.tune.running import Ground, Running
from heliostat.tune.trial import Sections

__all__ = ["VERSION", "sweep"]


def sweep(
    config: TuneConfig,
    *,
    ctx: Context,
    train: TrainConfig,
    model: Any,
    corpus: Corpus,
    task: Any,
    beside: dict[str, Any] | None = None,
) -> Sweep:
    """Try `config.trials` settings; the sweep with the models of its best trials.

    `beside` holds what only some sweeps look at: "corpora" of searched `corpus.` values by `corpus_mark`, and for objectives on
    general ground "suites" and the "base" model's scores.
    """
    from heliostat.engine import trials

    most = config.side_by_side()
    gangs = ctx.engine.muster(min(most, ctx.engine.widest()))  # first, for they take the longest
    run = Running(config, ctx, Ground(Sections(train, model, task), corpus, **(beside or {})))
    run.threads = ctx.engine.threads(len(gangs))
    ctx.engine.listeners.append(run.heard)
    try:
        if not run.decisions.done:
            pool = trials.Sweep(run.decisions, ctx.engine, most=most, order_for=run.order_for, record=run.record, stop=run.stop)
            pool.run(ahead=lambda job: run.fields(job.trial))
        done = trials_of(run)
        run.reflect(done)
        refuse_if_nothing_worked(run, done)
        best = final.ranked(done)[: config.finalists]
        confirmation, best = final.confirm(run, best)
        spent_s = run.wall_s
    finally:
        ctx.engine.listeners.remove(run.heard)
        run.close()
    models = final.export(run, best)
    swept = told(run, done, models, confirmation, spent_s=spent_s, slots=len(gangs))
    forget_others(run, models)  # last of all: without their checkpoints, a sweep that is killed now trains its finalists again
    return swept


def told(run: Running, done: list[Trial], models: list[Model], confirmation: Confirmation | None, *, spent_s: float, slots: int) -> Sweep:
    """The artifact of a sweep that is over. The confirmation is part of what was spent (`spent_s`), and not of the sweep's times."""
    made = [job for k, job in enumerate(run.decisions.jobs) if k in run.decisions.results]  # a budget may leave some undone
    jobs = Counter(job.rung for job in made)
    again = sum(len(confirmed.values) for confirmed in confirmation.finalists) if confirmation else 0
    price = run.ctx.layout.cost_per_hour
    spent = Spent(
        jobs=tuple(jobs.get(rung, 0) for rung in range(len(run.rungs))),
        trainings=round(outlook.trainings(made, run.rungs) + again, 6),
        wall_s=round(spent_s, 3),
        checkpoint_bytes=run.room.peak,
        cost=None if price is None else round(spent_s / 3600 * price, 4),
    )
    planned = (read_json(run.ctx.folder.parent / "run.json") or {}).get("expected", {}).get(run.ctx.name)
    return Sweep(
        fingerprint=run.ctx.fingerprint,
        path=run.ctx.folder,
        metric=run.metric_name,
        mode=run.mode,
        trials=tuple(done),
        finalists=tuple(models),
        wall_s=round(run.swept_s, 3),
        busy_s=round(sum(t.busy_s for t in done), 3),
        slots=slots,
        slot_s=round(run.slot_s, 3),
        startup_s=round(run.startup_s or 0.0, 3),
        rungs=run.rungs,
        objectives=run.weighing.directions,
        front=weighing.front(done, run.weighing) if run.weighing.objectives else (),
        confirmation=confirmation,
        expected=Spent.model_validate(planned) if planned else None,
        spent=spent,
        ended=run.ended,
        importance=importance(done, run.space),
    )


def trials_of(run: Running) -> list[Trial]:
    """Every trial that has a result, in its final state and with the settings it had then: one that was not promoted is stopped."""
    final_states = {"running": "stopped", "paused": "stopped"}
    ended = [t for t in run.standings.trials.values() if t.rung or t.state == "failed"]
    return [
        Trial.model_validate(
            t.model_dump(exclude={"reason"}) | {"state": final_states.get(t.state, t.state), "settings": run.decisions.tried[t.number]}
        )
        for t in sorted(ended, key=lambda t: t.number)
    ]


def refuse_if_nothing_worked(run: Running, done: list[Trial]) -> None:
    """A sweep stopped by identical failures, or without one good trial, has failed; `UserError` when trials could not work as asked."""
    if not run.alike and final.ranked(done):
        return
    causes = "; ".join(f"{count} x {error}" for error, count in run.failures.most_common())
    failed = run.failures.total()
    logs = run.ctx.folder.parent / "logs"
    amiss = {t.reason for t in run.standings.trials.values() if t.state == "failed"} == {"request"}
    goes_on = run.alike or run.ended != "all" or not run.decisions.done
    raise (UserError if amiss else RunFailed)(
        f"the sweep was stopped: {failed} jobs failed ({causes}). The logs are in {logs}. Once that is mended, the same command goes on."
        if failed and goes_on
        else f"no trial gave a result: {failed} jobs failed ({causes}). The logs are in {logs}. Change the config and give --replace."
        if failed
        else f"the budget of {run.ended} ended the sweep before one trial had a result. Raise tune.budget.{run.ended}."
    )


def forget_others(run: Running, finalists: list[Model]) -> None:
    """Delete training checkpoints: the finalists are exported, the ledger has everything else."""
    kept = {m.name for m in finalists}
    for folder in [*run.ctx.folder.glob("trial-*"), *run.ctx.folder.glob(f"{final.CONFIRM}-*")]:
        for part in PARTS:
            shutil.rmtree(folder / part, ignore_errors=True)
        if folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)
