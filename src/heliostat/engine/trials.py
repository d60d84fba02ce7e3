"""A sweep through Ray Tune over a pool of warm gangs.

Tune owns the trials: their states, their pausing and resuming, its actors. Which job runs next is decided by
`decisions` (pure, in heliostat.tune); a searcher and a scheduler of Tune's own interfaces ask it. A Tune trial is a thin
actor that hands its order to a gang and waits, so a new trial costs a message and not a process.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from heliostat.engine.gang import Gang
from heliostat.engine.orders import Order, Reply

TINY_CPU = 0.001
"""What a trial's thin actor reserves: the CPUs belong to the gangs."""


class Decisions(Protocol):
    """What decides the next job; see heliostat.tune.decisions."""

    def next(self) -> Any | None: ...
    def requeue(self, job: Any) -> None: ...
    @property
    def done(self) -> bool: ...


class Desk:
    """An actor where the driver lays out the order of each trial, and its thin actor picks it up."""

    def __init__(self) -> None:
        self.orders: dict[int, tuple[Order, Any]] = {}

    def lay(self, number: int, order: Order, mailbox: Any) -> None:
        self.orders[number] = (order, mailbox)

    def pick(self, number: int) -> tuple[Order, Any]:
        return self.orders.pop(number)


class ThinTrial(tune.Trainable):
    """Tune's view of a trial: one step is one job on a gang."""

    def setup(self, config: dict[str, Any], desk: Any = None) -> None:
        self.desk = desk

    def step(self) -> dict[str, Any]:
        order, mailbox = ray.get(self.desk.pick.remote(self.config["trial"]))
        reply = ray.get(mailbox.submit.remote(order))
        return {"trial": self.config["trial"], "reply": reply.model_dump_json()}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """The gang keeps the state of a training; there is nothing here to save."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """See `save_checkpoint`."""


class Field:
    """The driver's side: which gang works on which job; what both of Tune's interfaces share."""

    def __init__(self, decisions: Decisions, gangs: list[Gang], order_for: Callable[[Any], Order], record: Callable[[Any, Reply], None]):
        self.decisions, self.order_for, self.record = decisions, order_for, record
        self.desk = ray.remote(Desk).options(num_cpus=0).remote()
        self.free = list(gangs)
        self.working: dict[int, tuple[Any, Gang]] = {}
        self.known: dict[int, TuneTrial] = {}
        self._held: Any | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Tune writes snapshots of its searcher and scheduler; the ledger is the truth, so ours are empty."""
        return {}

    def peek(self) -> Any | None:
        """The job to run now, or None: no gang is free, or nothing can be decided yet."""
        if self._held is None and self.free:
            self._held = self.decisions.next()
        return self._held

    def begin(self) -> int:
        """Give the peeked job to a free gang; returns its trial's number."""
        job, self._held = self._held, None
        assert job is not None, "begin() follows a peek() that gave a job"
        gang = self._pick_gang(job)
        self.working[job.trial] = (job, gang)
        ray.get(self.desk.lay.remote(job.trial, self.order_for(job), gang.mailbox))  # calls of different callers are not ordered
        return job.trial

    def _pick_gang(self, job: Any) -> Gang:
        gang = next((g for g in self.free if g.holds == job.trial), self.free[0])
        self.free.remove(gang)
        gang.holds = job.trial
        return gang

    def end(self, number: int, reply: Reply | None) -> None:
        """The job of a trial is over; None means its thin actor was lost and the job has to run again."""
        job, gang = self.working.pop(number)
        self.free.append(gang)
        if reply is None:
            self.decisions.requeue(job)
        else:
            self.record(job, reply)


class Suggest(Searcher):
    """Tune's searcher: a trial appears when the decisions want one that Tune does not know yet."""

    def __init__(self, field: Field):
        super().__init__(metric="trial", mode="max")
        self.field = field

    def suggest(self, trial_id: str) -> Any:
        job = self.field.peek()
        if job is None:
            return Searcher.FINISHED if self.field.decisions.done and not self.field.working else None
        if job.trial in self.field.known:
            return None
        return {"trial": self.field.begin()}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Results are recorded by the scheduler."""

    def save(self, checkpoint_path: str) -> None:
        """The ledger is the truth; Tune's own snapshot is never read."""

    def restore(self, checkpoint_path: str) -> None:
        """See `save`."""


class Schedule(TrialScheduler):
    """Tune's scheduler: every job ends in a pause; a promoted trial is taken up again when the decisions say so."""

    def __init__(self, field: Field):
        self.field = field

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return True

    def on_trial_add(self, tune_controller: Any, trial: TuneTrial) -> None:
        self.field.known[trial.config["trial"]] = trial

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        number = trial.config["trial"]
        self.field.known.pop(number, None)
        if number in self.field.working:
            self.field.end(number, None)

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        number = trial.config["trial"]
        self.field.end(number, Reply.model_validate_json(result["reply"]))
        tune_controller.pause_trial(trial, should_checkpoint=False)
        return TrialScheduler.NOOP

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        """A trial completes only when the sweep is over."""

    def on_trial_remove(self, tune_controller: Any, trial: TuneTrial) -> None:
        """As `on_trial_complete`."""

    def choose_trial_to_run(self, tune_controller: Any, **kwargs: Any) -> TuneTrial | None:
        job = self.field.peek()
        if job is not None and job.trial in self.field.known:
            return self.field.known[self.field.begin()]
        if job is None and self.field.decisions.done and not self.field.working:
            for trial in list(tune_controller.get_live_trials()):
                if trial.status == TuneTrial.PAUSED:
                    tune_controller.stop_trial(trial)
        return None

    def debug_string(self) -> str:
        return "heliostat"


def run(field: Field, folder: Path) -> None:
    """Run until the field's decisions are done; its `record(job, reply)` is called in this process, one at a time."""
    trainable = tune.with_resources(tune.with_parameters(ThinTrial, desk=field.desk), {"CPU": TINY_CPU})
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(search_alg=Suggest(field), scheduler=Schedule(field), num_samples=-1, reuse_actors=True),
        run_config=tune.RunConfig(name="tune", storage_path=str(folder), verbose=0, callbacks=[], log_to_file=False),
    )
    try:
        tuner.fit()
    finally:
        ray.kill(field.desk)
