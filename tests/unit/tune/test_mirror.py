"""The Optuna database: what Optuna reads from it is what the sweep knows."""

from __future__ import annotations

import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from heliostat.artifacts import Curve, Trial
from heliostat.core.errors import RunFailed
from heliostat.tune.mirror import FILE, Mirror, how_to_open
from heliostat.tune.space import parse_space
from heliostat.tune.standing import Standing

SPACE = parse_space(
    {
        "train.schedule": {"choice": [{"use": "cosine"}, {"use": "linear", "floor": 0.1}, "constant"]},
        "train.optimizer.lr": {"log_uniform": [1e-6, 1e-2]},
        "train.warmup": {"uniform": [0, 0.3], "step": 0.1, "when": {"train.schedule": "cosine"}},
        "train.batch": {"int": [1, 64]},
        "train.clip": {"choice": [None, 1.0, True]},
    }
)
ONE, TWO = {"accuracy": "max"}, {"log_loss": "min", "bytes": "min"}


def standing(number: int, state: Any, best: float | None = 0.8, **facts: Any) -> Standing:
    settings = {"train.schedule": {"use": "cosine"}, "train.optimizer.lr": 1e-3, "train.warmup": 0.1, "train.batch": 8, "train.clip": None}
    curve = tuple(Curve(step=10 * k, epoch=k / 2, value=None if k == 2 else 0.1 * k, loss=1.0) for k in range(1, 4))
    known = {"rung": 1, "best_step": 30, "curve": curve, "busy_s": 60.0, "value": best, "objectives": {"bytes": 5e6}, "settings": settings}
    return Standing(number=number, state=state, best=best, **(known | facts))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty databases, made once: Optuna takes seconds for its tables."""
    folder = tmp_path_factory.mktemp("mirrors")
    for name, directions in (("one", ONE), ("two", TWO)):
        Mirror(folder / name, SPACE, "sweep", directions).close()
    return folder


@pytest.fixture
def one(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made / "one", tmp_path / FILE))


def study(path: Path) -> optuna.Study:
    return optuna.load_study(storage=f"sqlite:///{path}", study_name="sweep")


def test_every_state_comes_through(one: Path) -> None:
    mirror = Mirror(one, SPACE, "sweep", ONE)
    states = ("completed", "stopped", "failed", "running", "paused")
    assert mirror.update([standing(i, state, error="loss is NaN" if state == "failed" else None) for i, state in enumerate(states)])
    mirror.close()
    trials = study(one).trials
    assert [t.state for t in trials] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING, TrialState.RUNNING]
    assert [t.values for t in trials] == [[0.8], [0.8], None, None, None]
    assert [t.number for t in trials] == list(range(5))
    assert trials[0].params == {
        "train.schedule": "cosine",
        "train.optimizer.lr": 1e-3,
        "train.warmup": 0.1,
        "train.batch": 8,
        "train.clip": None,
    }
    assert trials[0].intermediate_values == pytest.approx({10: 0.1, 20: float("nan"), 30: 0.3}, nan_ok=True)
    assert trials[2].user_attrs["heliostat:error"] == "loss is NaN"
    assert trials[0].duration is not None
    assert trials[0].duration.total_seconds() == pytest.approx(60, abs=1)
    assert trials[3].datetime_complete is None
    assert study(one).best_trial.number == 0


def test_a_trial_that_goes_on_is_rewritten_and_the_rest_left_alone(one: Path) -> None:
    mirror = Mirror(one, SPACE, "sweep", ONE)
    first, second = standing(0, "paused", 0.5), standing(1, "running", None, curve=())
    mirror.update([first, second])
    mirror.update([first, standing(1, "completed", 0.9, settings={"train.batch": 64, "train.schedule": {"use": "linear", "floor": 0.1}})])
    mirror.close()
    trials = study(one).trials
    assert [t.state for t in trials] == [TrialState.RUNNING, TrialState.COMPLETE]
    assert trials[1].params == {"train.batch": 64, "train.schedule": '{"floor": 0.1, "use": "linear"}'}
    assert study(one).best_value == 0.9


def test_it_goes_on_after_a_kill_and_times_stay(one: Path) -> None:
    mirror = Mirror(one, SPACE, "sweep", ONE)
    mirror.update([standing(0, "completed"), standing(1, "paused")])
    mirror.close()
    before = study(one).trials
    mirror = Mirror(one, SPACE, "sweep", ONE)
    mirror.update([standing(0, "completed"), standing(1, "stopped"), standing(2, "completed")])
    mirror.close()
    after = study(one).trials
    assert [t.state for t in after] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
    assert after[0].datetime_complete == before[0].datetime_complete
    assert after[1].datetime_start == before[1].datetime_start


def test_several_objectives(made: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(made / "two", tmp_path / FILE))
    mirror = Mirror(path, SPACE, "sweep", TWO)
    final = [Trial(number=0, settings={"train.batch": 2}, state="completed", rung=2, best=0.3, best_step=1, curve=(), busy_s=1.0)]
    mirror.update([final[0].model_copy(update={"objectives": {"bytes": 7.0}}), final[0].model_copy(update={"number": 1})])
    mirror.close()
    found = study(path)
    assert [d.name for d in found.directions] == ["MINIMIZE", "MINIMIZE"]
    assert found.metric_names == ["log_loss", "bytes"]
    assert found.trials[0].values == [0.3, 7.0]
    assert found.trials[1].state == TrialState.PRUNED, "a number is missing"
    assert [t.number for t in found.best_trials] == [0]


def test_a_thousand_trials_take_a_moment(one: Path) -> None:
    mirror = Mirror(one, SPACE, "sweep", ONE)
    trials = [standing(i, "stopped") for i in range(1000)]
    began = time.perf_counter()
    mirror.update(trials)
    assert time.perf_counter() - began < 8
    began = time.perf_counter()
    mirror.update(trials)
    assert time.perf_counter() - began < 0.2
    mirror.close()
    (count,) = sqlite3.connect(one).execute("SELECT count(*) FROM trial_intermediate_values").fetchone()
    assert count == 3000


def test_a_busy_file_is_written_the_next_time(one: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heliostat.tune.mirror.BUSY_S", 0.05)
    mirror = Mirror(one, SPACE, "sweep", ONE)
    other = sqlite3.connect(one, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert not mirror.update([standing(0, "completed")])
    other.execute("ROLLBACK")
    assert mirror.update([standing(0, "completed")])
    mirror.close()
    assert len(study(one).trials) == 1


def test_trials_that_a_reader_kept_out_come_the_next_time(one: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads lets others begin to write, and not end."""
    monkeypatch.setattr("heliostat.tune.mirror.BUSY_S", 0.05)
    mirror = Mirror(one, SPACE, "sweep", ONE)
    reader = sqlite3.connect(one, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM trials").fetchall()
    assert not mirror.update([standing(n, "completed") for n in range(3)])
    reader.execute("COMMIT")
    assert mirror.update([standing(3, "completed")])
    assert mirror.update([standing(n, "completed") for n in range(5)])
    mirror.close()
    assert sorted(trial.number for trial in study(one).trials) == [0, 1, 2, 3, 4]
    assert all(len(trial.params) == 5 for trial in study(one).trials)


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_text("this is no database")
    mirror = Mirror(path, SPACE, "sweep", ONE)
    mirror.update([standing(0, "completed")])
    mirror.close()
    assert len(study(path).trials) == 1


def test_tables_of_another_version_are_refused(one: Path) -> None:
    base = sqlite3.connect(one)
    base.execute("UPDATE version_info SET schema_version = 99")
    base.commit()
    base.close()
    with pytest.raises(RunFailed, match="version 99"):
        Mirror(one, SPACE, "sweep", ONE)


def test_how_to_open_it() -> None:
    assert how_to_open(Path("/runs/a/tune/optuna.db")) == "optuna-dashboard sqlite:////runs/a/tune/optuna.db"
