"""What every tracker promises, found by itself in the family."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from clients.wandb_0_31 import Client
from heliostat.core import family
from heliostat.trackers.base import Outcome, Point, Reached, Run, Training

NAMES = family.names("trackers")
OUTCOME = Outcome(
    "student", "as good and smaller", {"base": {"domain/accuracy": 0.5}, "student": {"domain/accuracy": 0.75}}, {"small": False}
)


@pytest.fixture(params=NAMES)
def tracker(request, tmp_path, monkeypatch):
    """A member as it is without an option, its tool without a server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setitem(sys.modules, "wandb", Client())
    member = family.build("trackers", request.param)
    pytest.importorskip(member.package)
    return member


def record_of(tracker, tmp_path, resumed=False):
    (tmp_path / "run").mkdir(exist_ok=True)
    return tracker.open(Run("tiny", "0123456789abcdef", tmp_path / "run", {"name": "tiny", "list": [], "none": None}, resumed))


def training(name, **settings):
    return Training(f"a1b2/{name.rpartition('/')[2]}", name, 100, "accuracy", {"batch": 8, "clip": None}, settings)


def losses(*steps):
    return [Point(step, 1000.0 + step, {"train/loss": 1 / step, "train/lr": 0.5}) for step in steps]


def validation(step):
    return Point(step, 1000.0 + step, {"valid/accuracy": 0.5, "valid/docs.recall at 1": 0.25})


ONE, OTHER = training("distil"), training("tune/trial-0003", **{"train.optimizer.lr": 0.1, "train.lora": None, "train.betas": [0.9, 0.99]})


def test_a_new_training_has_no_points(tracker, tmp_path):
    record = record_of(tracker, tmp_path)
    assert record.begin(ONE) == Reached()
    assert record.begin(OTHER) == Reached()
    record.close("finished")


def test_another_process_learns_how_far_each_training_is(tracker, tmp_path):
    record = record_of(tracker, tmp_path)
    for own, last in ((ONE, 4), (OTHER, 2)):
        record.begin(own)
        record.write(own, [*losses(*range(1, last + 1)), validation(last)])
    record.close("killed")
    again = record_of(tracker, tmp_path, resumed=True)
    assert again.begin(ONE) == Reached(4, 4)
    assert again.begin(OTHER) == Reached(2, 2)
    again.write(ONE, losses(5))
    again.close("killed")
    assert record_of(tracker, tmp_path, resumed=True).begin(ONE).train == 5


def test_points_beyond_a_checkpoint_are_dropped_or_kept_as_it_says(tracker, tmp_path):
    record = record_of(tracker, tmp_path)
    record.begin(ONE)
    record.write(ONE, [*losses(1, 2), validation(2), *losses(3, 4), validation(4)])
    dropped = record.back_to(ONE, 2)
    record.close("killed")
    last = 2 if dropped else 4
    assert record_of(tracker, tmp_path, resumed=True).begin(ONE) == Reached(last, last)


@pytest.mark.parametrize("state", ["finished", "failed", "killed"])
def test_ends_and_results_may_come_in_any_order_and_again(tracker, tmp_path, state):
    record = record_of(tracker, tmp_path)
    record.finish(OUTCOME)
    for own in (ONE, OTHER):
        record.begin(own)
        record.write(own, losses(1))
    record.end(OTHER, failed=True)
    record.begin(OTHER)
    record.write(OTHER, losses(2))
    record.end(OTHER, failed=False)
    record.finish(OUTCOME)
    record.close(state)
    again = record_of(tracker, tmp_path, resumed=True)
    again.finish(OUTCOME)
    again.close("finished")
    assert record_of(tracker, tmp_path, resumed=True).begin(OTHER).train == 2


def test_a_missing_client_is_told_with_the_command(tracker, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (told,) = tracker.problems()
    assert f"'{tracker.package}' is not installed" in told
    assert f"pip install '{tracker.install}'" in told


def test_no_client_is_imported_before_it_is_asked_for():
    code = (
        "import sys; from heliostat.core import family; kinds = family.members('trackers').values();"
        "print([kind.package for kind in kinds if kind.package in sys.modules], all(kind().points for kind in kinds))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] True\n"
