"""The sweep: warm gangs, decisions on a ledger, the best trials exported."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from heliostat.artifacts import Corpus, Curve, Model, Sweep, Trial
from heliostat.core import seeds
from heliostat.core.errors import RunFailed
from heliostat.core.family import find
from heliostat.core.ledger import Ledger
from heliostat.core.manifest import read_json, write_json
from heliostat.core.settings import assign
from heliostat.core.workspace import Context
from heliostat.engine.driver import source_of
from heliostat.engine.orders import Reply
from heliostat.train.config import TrainConfig
from heliostat.train.session import Export, Train
from heliostat.train.stage import exported, training
from heliostat.tune.config import VERSION, TuneConfig
from heliostat.tune.decisions import Decisions
from heliostat.tune.schedulers.base import Job

__all__ = ["VERSION", "sweep"]


def sweep(config: TuneConfig, *, ctx: Context, train: TrainConfig, model: Any, corpus: Corpus, task: Any) -> Sweep:
    """Try `config.trials` settings; the sweep with the models of its best trials. A finished trial is never run again."""
    from heliostat.engine import trials

    run = Running(config, ctx, train, model, corpus, task)
    decisions = run.decisions
    gangs = ctx.engine.muster(min(config.side_by_side(), ctx.engine.widest()))
    run.threads = ctx.engine.threads(len(gangs))
    began = run.began = time.monotonic()
    ctx.engine.listeners.append(run.heard)
    try:
        if not decisions.done:
            trials.run(trials.Field(decisions, gangs, run.order_for, run.record), ctx.folder / "ray")
    finally:
        ctx.engine.listeners.remove(run.heard)
        run.note_wall(time.monotonic() - began)
        run.ledger.close()
    run.refuse_if_nothing_worked()
    done = run.trials()
    finalists = run.finalists(done)
    run.forget_others(finalists)
    return Sweep(
        fingerprint=ctx.fingerprint,
        path=ctx.folder,
        metric=run.metric_name,
        mode=run.mode,
        trials=tuple(done),
        finalists=tuple(finalists),
        wall_s=round(run.wall_s, 3),
        busy_s=round(sum(t.busy_s for t in done), 3),
        slots=len(gangs),
        startup_s=round(run.startup_s or 0.0, 3),
    )


@dataclass
class Running:
    """What a sweep knows while it runs."""

    config: TuneConfig
    ctx: Context
    train: TrainConfig
    model: Any
    corpus: Corpus
    task: Any
    threads: int = 1
    began: float = 0.0
    startup_s: float | None = None
    best: tuple[float, int] | None = None
    steps: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.metric_name = self.config.metric or self.task.metric
        metric: Any = find("metrics", self.metric_name)
        self.mode = self.config.mode or metric.mode
        self.ledger = Ledger(self.ctx.folder / "ledger.jsonl")
        self.decisions = Decisions(self.config.scheduler, self.config.trials, self.ledger.events, self.ledger.append)
        self.base = training(self.train, ctx=self.ctx, source=source_of(self.model), corpus=self.corpus, task=self.task)
        self.rungs = self.config.scheduler.rungs()
        self._fields: dict[int, dict[str, Any]] = {}

    @cached_property
    def _expected(self) -> int:
        return expected_jobs(self.config)

    def settings(self, number: int) -> dict[str, Any]:
        """What trial `number` tries: a pure function of the config and the seed."""
        return self.config.sampler.suggest(number, self.config.dimensions(), self.ctx.seed)

    def fields(self, number: int) -> dict[str, Any]:
        """The fields of trial `number`'s orders."""
        if number not in self._fields:
            tree: dict[str, Any] = {"train": self.train.dump()}
            for path, value in self.settings(number).items():
                tree = assign(tree, path, value)
            own = training(
                TrainConfig.model_validate(tree["train"]),
                ctx=self.ctx,
                source=self.base["model"],
                corpus=self.corpus,
                task=self.task,
                key=f"trial-{number:04d}",
            )
            self._fields[number] = own | {"seed": seeds.derive(self.ctx.seed, "trial", number), "metric": self.metric_name}
        return self._fields[number]

    def order_for(self, job: Job) -> Train:
        """The order that brings a trial to a rung."""
        fields = self.fields(job.trial)
        until = max(1, round(self.rungs[job.rung] * fields["total"]))
        self.ctx.show.trial(job.trial, "running", {"rung": job.rung + 1, "settings": self.settings(job.trial)})
        return Train(**fields, until=until, resumable=job.rung + 1 < len(self.rungs), threads=self.threads)

    def heard(self, event: dict[str, Any]) -> None:
        """Progress of a running trial: steps done over the steps of all rungs issued."""
        if event["kind"] != "step" or not event["key"].startswith(self.ctx.fingerprint):
            return
        if self.startup_s is None:
            self.startup_s = time.monotonic() - self.began
        number = int(event["key"].rsplit("-", 1)[1])
        self.steps[number] = event["step"]
        info = {"rung": None, "step": event["step"], "until": event["until"], "loss": event["loss"], "settings": self.settings(number)}
        self.ctx.show.trial(number, "running", {k: v for k, v in info.items() if v is not None})

    def record(self, job: Job, reply: Reply) -> None:
        """One job is over: on the ledger, on the screen."""
        if reply.error is None:
            best = reply.value["best"]["value"]
            value = best if self.mode == "max" else -best
            facts = {"curve": reply.value["curve"], "busy_s": reply.value["busy_s"], "best": reply.value["best"], "error": None}
        else:
            value = None
            facts = {"curve": [], "busy_s": round(reply.seconds, 3), "best": None, "error": reply.error, "reason": reply.reason}
        self.decisions.finish(job, value, facts)
        self._show(job, value, reply)
        self._stop_on_identical_failures()

    def _show(self, job: Job, value: float | None, reply: Reply) -> None:
        if value is not None and (self.best is None or value > self.best[0]):
            self.best = (value, job.trial)
        sign = 1 if self.mode == "max" else -1
        shown = None if value is None else sign * value
        state = "failed" if value is None else ("completed" if job.rung + 1 == len(self.rungs) else "paused")
        info = {"rung": job.rung + 1, "value": shown, "seconds": reply.seconds, "settings": self.settings(job.trial)}
        self.ctx.show.trial(job.trial, state, {k: v for k, v in info.items() if v is not None})
        done, total = len(self.decisions.results), max(self._expected, len(self.decisions.issued))
        note = f"best {self.metric_name} {sign * self.best[0]:.4f} (trial {self.best[1]:04d})" if self.best else ""
        self.ctx.show.update(self.ctx.name, done, total, "rungs", note)

    def _stop_on_identical_failures(self) -> None:
        errors = [e["error"] for e in self.ledger.events if e["event"] == "result" and e["error"] and e.get("reason") != "diverged"]
        if errors and errors.count(errors[-1]) >= self.config.max_identical_failures:
            self.decisions.stop()

    def refuse_if_nothing_worked(self) -> None:
        """A sweep stopped by identical failures, or without one good trial, has failed."""
        failed = [e for e in self.ledger.events if e["event"] == "result" and e["error"]]
        counts = {e["error"]: sum(f["error"] == e["error"] for f in failed) for e in failed}
        good = any(e["event"] == "result" and e["value"] is not None for e in self.ledger.events)
        if self.decisions.stopped or not good:
            causes = "; ".join(f"{n} x {error}" for error, n in sorted(counts.items(), key=lambda x: -x[1]))
            logs = self.ctx.folder.parent / "logs"
            raise RunFailed(f"the sweep was stopped: {len(failed)} jobs failed ({causes}). The logs are in {logs}.")

    def note_wall(self, seconds: float) -> None:
        """Add this attempt's wall time to that of earlier ones (a killed sweep goes on)."""
        path = self.ctx.folder / "wall.json"
        self.wall_s = seconds + float((read_json(path) or {"wall_s": 0.0})["wall_s"])
        write_json(path, {"wall_s": self.wall_s})

    def trials(self) -> list[Trial]:
        """Every trial in its final state, from the ledger alone."""
        events: dict[int, list[dict[str, Any]]] = {}
        for event in self.ledger.events:
            if event["event"] == "result":
                events.setdefault(event["trial"], []).append(event)
        return [self._trial(number, mine) for number, mine in sorted(events.items())]

    def _trial(self, number: int, events: list[dict[str, Any]]) -> Trial:
        last = events[-1]
        good = [e for e in events if e["value"] is not None]
        reached = good[-1]["rung"] + 1 if good else 0
        state = "failed" if last["value"] is None else ("completed" if reached == len(self.rungs) else "stopped")
        return Trial(
            number=number,
            settings=self.settings(number),
            state=state,
            rung=reached,
            best=good[-1]["best"]["value"] if good else None,
            best_step=good[-1]["best"]["step"] if good else None,
            curve=tuple(Curve(**point) for point in (good[-1]["curve"] if good else [])),
            busy_s=round((good[-1]["busy_s"] if good else 0.0) + (last["busy_s"] if last["value"] is None else 0.0), 3),
            error=last["error"],
        )

    def finalists(self, done: list[Trial]) -> list[Model]:
        """The best trials, exported and verified, best first; ties go to the lower number."""
        sign = 1 if self.mode == "max" else -1
        ranked = sorted((t for t in done if t.best is not None and t.state != "failed"), key=lambda t: (-sign * t.best, t.number))  # type: ignore[operator]
        chosen = ranked[: self.config.finalists]
        outs = [self.ctx.folder / "models" / f"trial-{t.number:04d}" for t in chosen]
        fields = [self.fields(t.number) for t in chosen]
        replies = self.ctx.engine.perform_all([Export(**own, out=out) for own, out in zip(fields, outs, strict=True)])
        return [
            exported(own, out, reply.value, name=out.name, stage="tune", fingerprint=f"{self.ctx.fingerprint}/best-{rank}")
            for rank, (own, out, reply) in enumerate(zip(fields, outs, replies, strict=True))
        ]

    def forget_others(self, finalists: list[Model]) -> None:
        """Delete training checkpoints: the finalists are exported, the ledger has everything else."""
        kept = {m.name for m in finalists}
        for folder in self.ctx.folder.glob("trial-*"):
            for part in ("latest", "best"):
                shutil.rmtree(folder / part, ignore_errors=True)
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self.ctx.folder / "ray", ignore_errors=True)


def expected_jobs(config: TuneConfig) -> int:
    """Jobs of a whole sweep when no trial fails: a simulation with results that do not matter."""
    from heliostat.tune.schedulers.base import Result

    issued: list[Job] = []
    seen: list[Result] = []
    while (job := config.scheduler.next_job(issued, seen, config.trials)) is not None:
        issued.append(job)
        seen.append(Result(job.trial, job.rung, float(-job.trial)))
    return len(issued)
