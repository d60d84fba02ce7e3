"""An Optuna database of a sweep, `optuna.db`, to look at with optuna-dashboard while the sweep runs and after it.

The ledger is the truth; this is a copy of it that may be thrown away. Optuna makes the file and its tables. Trials are
written in plain SQL, all that changed in one transaction: through Optuna's storage a trial takes several transactions, and
a thousand trials took minutes.
"""

from __future__ import annotations

import json
import math
import sqlite3
import warnings
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from heliostat.artifacts import Trial
from heliostat.core.errors import RunFailed
from heliostat.tune.distributions import distribution, kept
from heliostat.tune.space import Space

FILE = "optuna.db"
SCHEMA = 12
"""The version of Optuna's tables that is written here; Optuna 3.2 to 5 have it."""
BUSY_S = 5.0
STATES = {"running": "RUNNING", "paused": "RUNNING", "completed": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}
PARTS = ("trial_params", "trial_values", "trial_intermediate_values", "trial_user_attributes")
TOP = "heliostat:"
"""Begins the names of a trial's attributes."""


class Mirror:
    """The study `name` in `path`; one that is there already goes on.

    `directions` are the metric and the objectives, each with max or min, the metric first. Raises `RunFailed` when the
    installed Optuna keeps its trials in other tables.
    """

    def __init__(self, path: Path, space: Space, name: str, directions: Mapping[str, str]):
        self.path, self.space, self.names = path, space, list(directions)
        self._dimensions = {p: (d, _told(d)) for p, d in space.dimensions.items()}
        self._written: dict[int, Trial] = {}
        self._open(name, directions)

    def update(self, trials: Iterable[Trial]) -> bool:
        """Write the trials that are not what was last written; False when the file was busy, then nothing was written.

        `trials` are `heliostat.tune.standing.Standing` while the sweep runs, and its final trials at the end.
        """
        changed = [t for t in trials if self._written.get(t.number) is not t]
        if not changed:
            return True
        try:
            with self._base:
                self._base.execute("BEGIN IMMEDIATE")
                ids = self._write(changed, datetime.now(UTC))
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                return False
            raise
        self._ids |= ids
        self._written |= {t.number: t for t in changed}
        return True

    def close(self) -> None:
        self._base.close()

    def _open(self, name: str, directions: Mapping[str, str]) -> None:
        if self.path.exists() and not _holds(self.path, name):
            self.path.unlink()  # half made, damaged, or of another sweep
        if not self.path.exists():
            _make(self.path, name, directions)
        self._base = sqlite3.connect(self.path, timeout=BUSY_S, check_same_thread=False)
        self._base.execute("PRAGMA synchronous = OFF")  # the ledger is what must survive
        (version,) = self._base.execute("SELECT schema_version FROM version_info").fetchone()
        if version != SCHEMA:
            self._base.close()
            raise RunFailed(f"the installed Optuna keeps trials in tables of version {version}; {SCHEMA} is known (Optuna 3.2 to 5).")
        (self._study,) = self._base.execute("SELECT study_id FROM studies WHERE study_name = ?", (name,)).fetchone()
        self._ids = dict(self._base.execute("SELECT number, trial_id FROM trials WHERE study_id = ?", (self._study,)).fetchall())

    def _write(self, trials: list[Trial], now: datetime) -> dict[int, int]:
        """The ids of trials that were not there before, for when all of it is kept."""
        write, new = self._base.execute, dict[int, int]()
        for trial in trials:
            state = self._state(trial)
            ended = None if state == "RUNNING" else _written(now)
            if trial.number in self._ids:
                when = "CASE WHEN ?2 IS NULL THEN NULL ELSE COALESCE(datetime_complete, ?2) END"  # one that had ended keeps its time
                write(
                    f"UPDATE trials SET state = ?1, datetime_complete = {when} WHERE trial_id = ?3", (state, ended, self._ids[trial.number])
                )
                for table in PARTS:
                    write(f"DELETE FROM {table} WHERE trial_id = ?", (self._ids[trial.number],))
            else:
                row = (trial.number, self._study, state, _written(now - timedelta(seconds=trial.busy_s)), ended)
                done = write("INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete) VALUES (?, ?, ?, ?, ?)", row)
                new[trial.number] = int(done.lastrowid or 0)
            self._write_parts(self._ids.get(trial.number) or new[trial.number], trial, state)
        return new

    def _write_parts(self, trial_id: int, trial: Trial, state: str) -> None:
        write = self._base.executemany
        params = [(trial_id, path, place, told) for path, place, told in self._params(trial)]
        write("INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?, ?, ?, ?)", params)
        values = [(trial_id, i, v, "FINITE") for i, v in enumerate(self._values(trial) if state in ("COMPLETE", "PRUNED") else ())]
        write("INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, ?, ?, ?)", values)
        curve = [(trial_id, c.step, c.value, "NAN" if c.value is None else "FINITE") for c in {c.step: c for c in trial.curve}.values()]
        columns = "trial_id, step, intermediate_value, intermediate_value_type"
        write(f"INSERT INTO trial_intermediate_values ({columns}) VALUES (?, ?, ?, ?)", curve)
        facts = [(trial_id, TOP + key, json.dumps(fact, ensure_ascii=False)) for key, fact in attributes(trial).items()]
        write('INSERT INTO trial_user_attributes (trial_id, "key", value_json) VALUES (?, ?, ?)', facts)

    def _params(self, trial: Trial) -> list[tuple[str, float, str]]:
        found = []
        for path, (dimension, told) in self._dimensions.items():
            place = kept(dimension, trial.settings[path]) if path in trial.settings else None
            if place is not None:
                found.append((path, place, told))
        return found

    def _values(self, trial: Trial) -> list[float]:
        """The metric and the objectives; empty when one of them is not a number."""
        found = [trial.best, *(trial.objectives.get(name) for name in self.names[1:])]
        finite = [v for v in found if v is not None and math.isfinite(v)]
        return finite if len(finite) == len(found) else []

    def _state(self, trial: Trial) -> str:
        """Optuna's word; a completed trial without all its numbers has no place among the complete ones."""
        state = STATES[trial.state]
        return "PRUNED" if state == "COMPLETE" and not self._values(trial) else state


def attributes(trial: Trial) -> dict[str, Any]:
    """What the dashboard shows beside the settings and the values."""
    facts: dict[str, Any] = {"state": trial.state, "rung": trial.rung, "busy_s": round(trial.busy_s, 3), "best_step": trial.best_step}
    facts |= {"sweep_value": trial.value, "error": trial.error}
    return {key: fact for key, fact in facts.items() if fact is not None}


def how_to_open(path: Path) -> str:
    """The command that shows a mirror."""
    return f"optuna-dashboard sqlite:///{path}"


def _written(at: datetime) -> str:
    """A time as Optuna keeps it."""
    return at.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


def _told(dimension: Any) -> str:
    from optuna.distributions import distribution_to_json

    return distribution_to_json(distribution(dimension))


def _holds(path: Path, name: str) -> bool:
    try:
        base = sqlite3.connect(path, timeout=BUSY_S)
        try:
            return base.execute("SELECT 1 FROM studies WHERE study_name = ?", (name,)).fetchone() is not None
        finally:
            base.close()
    except sqlite3.DatabaseError:
        return False


def _make(path: Path, name: str, directions: Mapping[str, str]) -> None:
    """A new file with Optuna's tables and one study without trials, whole or not there at all."""
    import optuna

    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{new}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # names of metrics are marked as experimental
            modes: list[Any] = ["maximize" if mode == "max" else "minimize" for mode in directions.values()]
            optuna.create_study(storage=storage, study_name=name, directions=modes).set_metric_names(list(directions))
        storage.engine.dispose()
    finally:
        optuna.logging.set_verbosity(before)
    new.rename(path)
