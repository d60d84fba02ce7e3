"""MLflow: a run for the run, a nested run for each training, through MLflow's own client.

Runs are found again by tags, so a run that goes on in another process, or whose folder was moved, goes on in MLflow too. Parameters
of MLflow cannot change: a run that goes on with another config is another MLflow run, and the trainings it still makes come along.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field

from heliostat import __version__
from heliostat.core.manifest import fingerprint
from heliostat.trackers.base import Base, Outcome, Point, Reached, Record, Run, State, Training, flat

RUN, CONFIG, TRAINING = "heliostat.run", "heliostat.config", "heliostat.training"
"""Tags by which runs are found again."""
PARENT = "mlflow.parentRunId"
METRICS, PARAMS, VALUE = 1000, 100, 6000
"""MLflow's limits: metrics and parameters of one request, characters of a parameter."""
ENDS: Mapping[State, str] = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
FILES_ALLOWED = "MLFLOW_ALLOW_FILE_STORE"


class Mlflow(Base):
    """An MLflow tracking server or database: a nested run for each training, parameters, test scores."""

    package: ClassVar[str] = "mlflow"
    install: ClassVar[str] = "heliostat[mlflow]"

    tracking_uri: str | None = None
    """Server or database, such as http://mlflow:5000 or sqlite:////shared/mlflow.db; None is what MLFLOW_TRACKING_URI names, or else
    mlflow.db in the folder of all runs. Names and tokens of a server are read by MLflow from its own environment variables."""
    experiment: str = Field("heliostat", min_length=1)
    """MLflow's experiment; it is made when it is not there."""
    tags: dict[str, str] = {}
    """Tags of the run."""

    def open(self, run: Run) -> Record:
        uri = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.folder.parent / 'mlflow.db'}"
        return Runs(run, uri, self.experiment, self.tags)

    def problems(self) -> list[str]:
        found, uri = super().problems(), self.tracking_uri or ""
        in_files = bool(uri) and ("://" not in uri or uri.startswith("file:")) and not uri.startswith("databricks")
        if in_files and os.environ.get(FILES_ALLOWED, "").lower() not in ("true", "1"):
            near = f"sqlite:///{uri.removeprefix('file:').removeprefix('//').rstrip('/')}/mlflow.db"
            found.append(f"tracking_uri: '{uri}' is a folder, and MLflow keeps no new runs in plain files. Use {near}, or a server's URL.")
        if urlsplit(uri).password:
            found.append("tracking_uri: it holds a password, which a run's folder would keep. Put the whole of it in MLFLOW_TRACKING_URI.")
        return found


class Runs(Record):
    """One run and its trainings in MLflow."""

    def __init__(self, run: Run, uri: str, experiment: str, tags: Mapping[str, str]):
        from mlflow import MlflowClient

        self.run, self.client = run, MlflowClient(tracking_uri=uri)
        self.experiment = self._experiment(experiment)
        self.children: dict[str, str] = {}
        """Training to its MLflow run."""
        self._open: set[str] = set()
        """Trainings without an end."""
        config = fingerprint({name: value for name, value in run.config.items() if name != "trackers"})
        mine = {RUN: run.id, CONFIG: config}
        found = self._find(mine) if run.resumed else None
        self.parent = found or self._create(run.name, {**tags, **mine, "heliostat.version": __version__}, flat(run.config))

    def _experiment(self, name: str) -> str:
        """Its id; two runs may want to make it at the same time."""
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return self.client.create_experiment(name)
            except MlflowException:
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
        return found.experiment_id

    def _find(self, tags: Mapping[str, str]) -> str | None:
        """The run with these tags, at work again."""
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        found = self.client.search_runs([self.experiment], wanted, max_results=1)
        if not found:
            return None
        self.client.update_run(found[0].info.run_id, status="RUNNING")
        return found[0].info.run_id

    def _create(self, name: str, tags: Mapping[str, str], params: Mapping[str, Any]) -> str:
        from mlflow.entities import Param

        made = self.client.create_run(self.experiment, run_name=name, tags=dict(tags)).info.run_id
        for some in chunks([Param(key(name), str(value)[:VALUE]) for name, value in params.items()], PARAMS):
            self.client.log_batch(made, params=some)
        return made

    def begin(self, training: Training) -> Reached:
        self._open.add(training.key)
        if training.key in self.children:
            self.client.update_run(self.children[training.key], status="RUNNING")
            return Reached()  # whoever asks again knows
        mine = {RUN: self.run.id, TRAINING: training.key}
        found = self._find(mine) if self.run.resumed else None
        if found is None:
            tags = {**mine, PARENT: self.parent, "heliostat.stage": training.stage}
            self.children[training.key] = self._create(training.name, tags, training.parameters())
            return Reached()
        self.children[training.key] = found
        self.client.set_tag(found, PARENT, self.parent)
        return Reached(self._last(found, "train/loss"), self._last(found, f"valid/{training.metric}"))

    def _last(self, run: str, metric: str) -> int:
        return max((point.step for point in self.client.get_metric_history(run, key(metric))), default=0)

    def write(self, training: Training, points: Sequence[Point]) -> None:
        self._log(self.children[training.key], points)

    def _log(self, run: str, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(key(name), value, round(1000 * p.time), p.step) for p in points for name, value in p.values.items()]
        for some in chunks(metrics, METRICS):
            self.client.log_batch(run, metrics=some)

    def end(self, training: Training, *, failed: bool) -> None:
        self._open.discard(training.key)
        self.client.set_terminated(self.children[training.key], ENDS["failed" if failed else "finished"])

    def finish(self, outcome: Outcome) -> None:
        scores = {f"test/{model}/{name}": value for model, own in outcome.scores.items() for name, value in own.items()}
        gates = {f"gate/{name}": float(held) for name, held in outcome.gates.items()}
        self._log(self.parent, [Point(0, time.time(), {**scores, **gates})])
        said = {"ship": outcome.ship, "because": outcome.because, "gates": "held" if outcome.passed else "not met"}
        for name, value in said.items():
            self.client.set_tag(self.parent, f"heliostat.{name}", value)

    def close(self, state: State) -> None:
        for training in self._open:
            self.client.set_terminated(self.children[training], ENDS[state])
        if state == "finished" and self.run.resumed:  # trials that were at work in a process that was killed, and are stopped now
            for run in self._unfinished():
                self.client.set_terminated(run, ENDS[state])
        self.client.set_terminated(self.parent, ENDS[state])

    def _unfinished(self) -> list[str]:
        """Trainings of earlier processes that have no end."""
        found: list[str] = []
        for status in ("RUNNING", "KILLED"):
            wanted, token = f"tags.`{PARENT}` = '{self.parent}' and attributes.status = '{status}'", None
            while True:
                page = self.client.search_runs([self.experiment], wanted, page_token=token)
                found += [run.info.run_id for run in page]
                token = page.token
                if not token:
                    break
        return found


def key(name: str) -> str:
    """`name` with the characters MLflow allows in a name."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def chunks(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """`items` in pieces of at most `size`."""
    return (items[at : at + size] for at in range(0, len(items), size))
