"""What a sweep knows while it runs: the orders of its jobs, what their replies mean, when it has to stop.

Every fact it could lose is on the ledger; the rest (what is drawn, what is on disk) is worked out again.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from heliostat.artifacts import Corpus, Scores, Trial
from heliostat.core import seeds
from heliostat.core.family import find
from heliostat.core.ledger import Ledger
from heliostat.core.workspace import Context
from heliostat.engine.driver import source_of
from heliostat.engine.orders import Reply
from heliostat.train.orders import Train
from heliostat.train.stage import training
from heliostat.tune import outlook
from heliostat.tune.config import TuneConfig
from heliostat.tune.decisions import Decisions
from heliostat.tune.earlier import earlier
from heliostat.tune.mirror import FILE, Mirror
from heliostat.tune.proposals import Proposals
from heliostat.tune.room import GB, Room, trial_name
from heliostat.tune.schedulers.base import Job
from heliostat.tune.standing import Standings
from heliostat.tune.trial import Sections, corpus_mark, sections
from heliostat.tune.weighing import Weighing, weighing

MIRROR_EVERY_S = 10.0


@dataclass(frozen=True)
class Ground:
    """What every trial of a sweep starts from."""

    sections: Sections
    """The parts of the config that a trial may change."""
    corpus: Corpus
    corpora: dict[str, Corpus] = field(default_factory=dict)
    """The corpora of searched `corpus.` values, by `corpus_mark`; their valid and test rows and labels are those of `corpus`."""
    suites: dict[str, Any] = field(default_factory=dict)
    """`evaluate.general`, for objectives that measure it."""
    base: Scores | None = None
    """Scores of the base model, for limits that are relative to it."""


@dataclass
class Running:
    """One sweep at work."""

    config: TuneConfig
    ctx: Context
    ground: Ground
    threads: int = 1
    startup_s: float | None = None
    best: tuple[float, int, float] | None = None
    """(value, trial, metric) of the best trial so far."""
    ended: Literal["all", "hours", "cost"] = "all"
    alike: bool = False
    """Whether identical failures stopped it."""
    failures: Counter[str] = field(default_factory=Counter)
    values: dict[int, float] = field(default_factory=dict)
    """Trial to its value at its last rung."""
    swept_s: float = 0.0
    """Wall time up to the last result of a trial."""
    slot_s: float = 0.0
    """The same, summed over the slots that there were meanwhile."""
    repeated: Counter[str] = field(default_factory=Counter)
    """Failures of this attempt by their cause: what an earlier one stumbled over may be mended."""
    out: set[int] = field(default_factory=set)
    """Trials that are handed out."""

    def __post_init__(self) -> None:
        config, ctx, ground = self.config, self.ctx, self.ground
        self.metric_name = config.metric or ground.sections.task.metric
        metric: Any = find("metrics", self.metric_name)
        self.mode: Literal["max", "min"] = config.mode or metric.mode
        self.weighing: Weighing = weighing(self.mode, config.objectives, ground.suites, ground.base, ctx.seed)
        self.space, self.rungs = config.searched(), config.scheduler.rungs()
        self.ledger = Ledger(ctx.folder / "ledger.jsonl")
        self.room = Room(ctx.folder, config.budget.checkpoint_gb and config.budget.checkpoint_gb * GB)
        self._crowded = False
        self._causes: dict[str, str] = {}
        self._fields: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._expected = outlook.expected_jobs(config, self.ctx.seed)
        self._began, self._before = time.monotonic(), 0.0
        events = self.ledger.read()
        self.standings = Standings(mode=self.mode, rungs=len(self.rungs), events=events)
        self.decisions = Decisions(config.scheduler, config.trials, self._proposals(), events, self._write)
        for event in events:
            self._remember(event)
        ctx.show.earlier(self._earlier())
        self._mirror = self._open_mirror()
        self._mirrored = time.monotonic()

    def _write(self, event: dict[str, Any]) -> None:
        """An event becomes durable, then known."""
        self.ledger.append(event)
        self.standings.take(event)

    def _open_mirror(self) -> Mirror | None:
        """The copy of the sweep for optuna-dashboard; a sweep goes on without one."""
        directions = {self.metric_name: self.mode, **self.weighing.directions}
        try:
            return Mirror(self.ctx.folder / FILE, self.space, self.ctx.folder.parent.name, directions)
        except Exception as error:  # noqa: BLE001  a locked or full disk in whatever words SQLAlchemy has for it
            self.ctx.show.message(f"no Optuna database is written: {error}")
            return None

    def reflect(self, trials: Sequence[Trial]) -> None:
        """Bring the mirror up to date."""
        self._mirrored = time.monotonic()
        if self._mirror is not None:
            try:
                self._mirror.update(trials)
            except sqlite3.Error as error:
                self.ctx.show.message(f"the Optuna database is not up to date: {error}")

    def close(self) -> None:
        """Let go of the files."""
        self.ledger.close()
        if self._mirror is not None:
            self._mirror.close()

    def _proposals(self) -> Proposals:
        """The sampler, told of an older sweep when there is one."""
        config, first = self.config, list(self.config.first_points)
        older = None
        if config.warm_start:
            known = {"metric": self.metric_name, "mode": config.mode, "rungs": self.rungs, "objectives": config.objectives}
            older = earlier(config.warm_start, self.space, **known)
            first += older.first_points
            self.ctx.show.message(older.told)
        proposals = Proposals(config.sampler, self.space, config.trials, self.ctx.seed, first)
        for told in older.trials if older else ():
            proposals.tell(told)
        return proposals

    def _remember(self, event: dict[str, Any]) -> None:
        """What an event of an earlier attempt said."""
        at_s = float(event.get("wall_s", 0.0))
        self._before = max(self._before, at_s)
        if event["event"] == "result":
            self.swept_s, self.slot_s = max(self.swept_s, at_s), max(self.slot_s, float(event.get("slot_s", 0.0)))
            self._count(event["trial"], event["value"], event)
            self._measure(event["trial"], event["rung"])

    # Orders

    def settings(self, number: int) -> dict[str, Any]:
        """What trial `number` tries now."""
        return self.decisions.settings[number]

    def fields(self, number: int, tried: dict[str, Any] | None = None) -> dict[str, Any]:
        """The fields of trial `number`'s orders; `tried` are the settings, when they are not those of now."""
        settings = tried or self.settings(number)
        if number not in self._fields or self._fields[number][0] is not settings:
            self._fields[number] = (settings, self._training(settings, trial_name(number)) | {"seed": self.seed_of(number)})
        return self._fields[number][1]

    def seed_of(self, number: int) -> int:
        """The seed of a trial's training."""
        return seeds.derive(self.ctx.seed, "trial", number)

    def _training(self, settings: dict[str, Any], key: str) -> dict[str, Any]:
        """The fields of a training with these settings."""
        ground, ctx = self.ground, self.ctx
        own = sections(ground.sections, settings)
        mark, source = corpus_mark(settings), source_of(own.model)
        corpus = ground.corpora[mark] if mark else ground.corpus
        fields = training(own.train, ctx=ctx, source=source, corpus=corpus, task=own.task, key=key)
        return fields | {"metric": self.metric_name, "objectives": self.weighing.measured, "settings": settings}

    def again(self, number: int, key: str, **changes: Any) -> dict[str, Any]:
        """The fields of trial `number`'s training, to be made once more in a folder of its own."""
        return self._training(self.settings(number), key) | {"objectives": self.weighing.deciding.measured, **changes}

    def order_for(self, job: Job) -> Train:
        """The order that brings a trial to a rung."""
        self._make_room(job)
        fields = self.fields(job.trial)
        parent = None
        if job.parent is not None:
            parent = (self.ctx.folder / trial_name(job.parent), self.steps(fields, job.rung - 1))
        self.ctx.show.trial(job.trial, "running", {"rung": job.rung + 1, "settings": self.settings(job.trial)})
        last = job.rung + 1 == len(self.rungs)
        keep = self.config.scheduler.exploits
        return Train(
            **fields, until=self.steps(fields, job.rung), resumable=not last or keep, keep_all=keep, parent=parent, threads=self.threads
        )

    def steps(self, fields: dict[str, Any], rung: int) -> int:
        """Steps of a trial at the end of a rung."""
        return max(1, round(self.rungs[rung] * fields["total"]))

    def _make_room(self, job: Job) -> None:
        self.out.add(job.trial)
        if self.room.limit is not None:
            ranked = sorted(self.values, key=lambda n: (self.values[n], -n))
            failed = sorted(self.room.used.keys() - self.values.keys())
            self.room.make(len(self.out), [*failed, *ranked], self.out, set(ranked[-self.config.finalists :]))
            if self.room.lacks(len(self.out)) and not self._crowded:
                self._crowded = True
                need = (self.room.total + len(self.out) * self.room.largest) / GB
                told = f"tune.budget.checkpoint_gb: what runs and the best trials need {need:.3g} GB, and have it"
                self.ctx.show.message(f"{told}; nothing else is kept. Ask for fewer finalists or gangs to stay below.")

    # Replies

    def record(self, job: Job, reply: Reply) -> None:
        """One job is over: on the ledger, on the screen."""
        self.out.discard(job.trial)
        value, facts = self._facts(reply)
        before, self.swept_s = self.swept_s, self.wall_s
        self.slot_s += (self.swept_s - before) * max(1, min(len(self.ctx.engine.gangs), self.config.side_by_side()))
        self.decisions.finish(job, value, facts | {"wall_s": round(self.swept_s, 3), "slot_s": round(self.slot_s, 3)})
        self._count(job.trial, value, facts)
        self._measure(job.trial, job.rung)
        if reply.reason not in ("", "diverged"):
            self.repeated[cause := self._cause(reply.error)] += 1
            self.alike = self.alike or self.repeated[cause] >= self.config.max_identical_failures
        if self.alike:
            self.decisions.stop()
        self._show(job, value, reply)
        if value is None:
            self.ctx.engine.tell({"kind": "failed", "key": f"{self.ctx.fingerprint}/{trial_name(job.trial)}", "error": facts["error"]})
        if time.monotonic() - self._mirrored >= MIRROR_EVERY_S:
            self.reflect(list(self.standings.trials.values()))

    def _measure(self, trial: int, rung: int) -> None:
        """Count what a trial has saved; at the last rung nobody goes on from its state any more, unless trials copy each other."""
        self.room.measure(trial)
        if rung + 1 == len(self.rungs) and not self.config.scheduler.exploits:
            self.room.drop(trial, "latest")

    def _facts(self, reply: Reply) -> tuple[float | None, dict[str, Any]]:
        """(value, what the ledger holds beside it)."""
        best, error, reason = reply.value.get("best"), reply.error, reply.reason
        if error is None and best is None:
            error, reason = f"{self.metric_name} has had no value yet: the answers to all validation rows may be alike", "diverged"
        if error is not None or best is None:
            return None, {"curve": [], "busy_s": round(reply.seconds, 3), "best": None, "error": error, "reason": reason}
        numbers, last = best.get("objectives", {}), reply.value["curve"][-1]
        facts = {"curve": reply.value["curve"], "busy_s": reply.value["busy_s"], "best": best, "error": None}
        if self.config.scheduler.exploits and last["value"] is not None:  # others go on from its state of now, and not from its best step
            facts["now"] = self.weighing.value(last["value"], last.get("objectives", {}))
        return self.weighing.value(best["value"], numbers), facts | ({"objectives": numbers} if numbers else {})

    def _count(self, trial: int, value: float | None, facts: dict[str, Any]) -> None:
        if value is None:
            self.failures[self._cause(facts["error"])] += 1
            self.values.pop(trial, None)
            return
        self.values[trial] = value
        if self.best is None or value > self.best[0]:
            self.best = (value, trial, float(facts["best"]["value"]))

    def _cause(self, error: Any) -> str:
        """The first error that differs from this one in nothing but numbers: sizes, trials, gangs."""
        return self._causes.setdefault(re.sub(r"\d+", "0", str(error)), str(error))

    def _show(self, job: Job, value: float | None, reply: Reply) -> None:
        state = "failed" if value is None else ("completed" if job.rung + 1 == len(self.rungs) else "paused")
        info: dict[str, Any] = {"rung": job.rung + 1, "seconds": reply.seconds, "settings": self.settings(job.trial)}
        if value is not None:
            info |= {"value": reply.value["best"]["value"], "metric": self.metric_name, "mode": self.mode}
            info |= {"objectives": reply.value["best"].get("objectives", {})}
        self.ctx.show.trial(job.trial, state, info)
        done, total = len(self.decisions.results), max(self._expected, len(self.decisions.jobs))
        note = f"best {self.metric_name} {self.best[2]:.4f} (trial {self.best[1]:04d})" if self.best else ""
        self.ctx.show.update(self.ctx.name, done, total, "rungs", note)

    def _earlier(self) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Trials of an earlier attempt as they are drawn; those that were at work begin their rung again and are drawn then."""
        for trial in self.standings.trials.values():
            if trial.state == "running" and trial.best is None:
                continue
            state = "paused" if trial.state == "running" else trial.state
            info: dict[str, Any] = {"rung": trial.rung, "settings": trial.settings, "objectives": trial.objectives}
            if trial.best is not None:
                info |= {"value": trial.best, "metric": self.metric_name, "mode": self.mode}
            yield trial.number, state, info

    def heard(self, event: dict[str, Any]) -> None:
        """Progress of a running trial, from the gangs' own channel."""
        if event["kind"] != "step" or not event["key"].startswith(f"{self.ctx.fingerprint}/trial-"):
            return
        if self.startup_s is None:
            self.startup_s = time.monotonic() - self._began
        number = int(event["key"].split("-")[-1])
        if number not in self.decisions.settings:  # late words of an earlier sweep of this engine
            return
        self.ctx.show.trial(number, "running", {k: event[k] for k in ("step", "until", "loss")} | {"settings": self.settings(number)})

    # The end

    @property
    def wall_s(self) -> float:
        """Wall time so far, of earlier attempts too, up to the last result each of them recorded."""
        return self._before + time.monotonic() - self._began

    def stop(self) -> bool:
        """Whether nothing more may begin; decides it, too."""
        budget, hours = self.config.budget, self.wall_s / 3600
        price = self.ctx.layout.cost_per_hour or 0.0
        if not self.decisions.stopped and budget.hours is not None and hours >= budget.hours:
            self.ended = "hours"
            self.decisions.stop()
        if not self.decisions.stopped and budget.cost is not None and hours * price >= budget.cost:
            self.ended = "cost"
            self.decisions.stop()
        return self.decisions.stopped
