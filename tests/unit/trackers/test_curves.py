"""Events of the channel become points, each once, whatever comes again."""

from __future__ import annotations

from typing import Any

import pytest

from heliostat.core.manifest import write_json
from heliostat.trackers import _curves
from heliostat.trackers._curves import Curves, name_of
from heliostat.trackers.base import Reached, Record


class Kept(Record):
    """A tool that keeps everything it is given, in memory; `forgets` says whether it can drop points."""

    def __init__(self, forgets: bool, before: Reached = Reached()):  # noqa: B008
        self.forgets, self.before = forgets, before
        self.points: list[tuple[int, dict[str, float]]] = []
        self.begun, self.ends, self.writes = [], [], 0

    def begin(self, training):
        self.begun.append(training)
        return self.before

    def back_to(self, training, step):
        if self.forgets:
            self.points = [point for point in self.points if point[0] <= step]
        return self.forgets

    def write(self, training, points):
        self.writes += 1
        self.points += [(point.step, dict(point.values)) for point in points]

    def end(self, training, *, failed):
        self.ends.append((training.name, failed))

    def finish(self, outcome):
        raise AssertionError("nothing came out")

    def close(self, state):
        raise AssertionError("the process goes on")

    def steps(self, tag):
        return [step for step, values in self.points if tag in values]


KEY, TOTAL = "mark/train", 12


def began(step=0, curve=(), key=KEY, settings=None) -> dict[str, Any]:
    facts = {"metric": "accuracy", "train": {"batch": 8}, "settings": settings or {}}
    return {"kind": "began", "key": key, "time": 1.0, "step": step, "total": TOTAL, "curve": list(curve), **facts}


def steps(*numbers, key=KEY, total=TOTAL, skipped=0) -> dict[str, Any]:
    told = [(n, 1 / n, 0.5, 8, skipped) for n in numbers]
    return {"kind": "step", "key": key, "time": 2.0, "step": numbers[-1], "total": total, "loss": told[-1][1], "lr": 0.5, "steps": told}


def valid(step, value=0.5, key=KEY, best=None, over=False) -> dict[str, Any]:
    told = {"value": value, "loss": 0.1, "best": best or {"step": step, "value": value}, "over": over}
    return {"kind": "valid", "key": key, "time": 3.0, "step": step, "total": TOTAL, **told}


def failed(key=KEY) -> dict[str, Any]:
    return {"kind": "failed", "key": key, "error": "gone"}


def point(step, value=0.5) -> dict[str, Any]:
    return {"step": step, "epoch": 1.0, "value": value, "loss": 0.1}


@pytest.fixture(params=[True, False], ids=["forgets", "keeps"])
def record(request):
    return Kept(request.param)


@pytest.fixture
def curves(record, tmp_path):
    write_json(tmp_path / "train" / "stage.json", {"fingerprint": "mark"})
    write_json(tmp_path / "tune" / "stage.json", {"fingerprint": "other"})
    return Curves(record, tmp_path, points=1000)


def test_every_step_of_an_event_is_a_point(curves, record):
    curves.take([began(), steps(1, 2, 3), steps(4), valid(4)])
    assert record.points[:2] == [(1, {"train/loss": 1.0, "train/lr": 0.5}), (2, {"train/loss": 0.5, "train/lr": 0.5})]
    assert record.steps("train/loss") == [1, 2, 3, 4]
    assert record.points[-1] == (4, {"valid/accuracy": 0.5})
    assert record.writes == 1, "what comes together is written together"


def test_updates_that_were_not_made_are_told_once_there_are_any(curves, record):
    curves.take([began(), steps(1, 2), steps(3, skipped=1)])
    assert record.points[-1] == (3, {"train/loss": 1 / 3, "train/lr": 0.5, "train/skipped_steps": 1})
    assert record.steps("train/skipped_steps") == [3]


def test_objectives_are_told_with_the_step_they_were_measured_at(curves, record):
    best = {"step": 4, "value": 0.5, "objectives": {"latency": 3.0}}
    curves.take([began(), valid(4, best=best), valid(8, 0.25, best=best)])
    assert record.points == [(4, {"valid/accuracy": 0.5, "valid/latency": 3.0}), (8, {"valid/accuracy": 0.25})]


def test_a_validation_without_a_value_is_no_point(curves, record):
    nothing = valid(4, None) | {"best": None}
    curves.take([began(4, [point(2, None)]), nothing, valid(12, 0.5)])
    assert record.points == [(12, {"valid/accuracy": 0.5})]
    assert record.ends == [("train", False)]


def test_a_long_curve_is_thinned_evenly_and_every_validation_is_kept(record, tmp_path):
    curves, total = Curves(record, tmp_path, points=10), 1005
    curves.take([began() | {"total": total}])
    for first in range(1, total, 7):
        curves.take([steps(*range(first, min(first + 7, total + 1)), total=total)])
    curves.take([valid(3)])
    kept = record.steps("train/loss")
    assert kept == [1, *range(101, total, 101), total]
    assert record.steps("valid/accuracy") == [3]


def test_steps_that_come_again_are_points_once(curves, record):
    curves.take([began(), steps(1, 2, 3, 4), valid(4, 0.1), steps(5, 6), valid(6, 0.2), steps(7)])
    curves.take([began(4, [point(4, 0.1)]), steps(5, 6), valid(6, 0.2), steps(7, 8), valid(8, 0.3)])
    assert record.steps("train/loss") == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [(s, v["valid/accuracy"]) for s, v in record.points if "valid/accuracy" in v] == [(4, 0.1), (6, 0.2), (8, 0.3)]
    assert len(record.begun) == 2


@pytest.mark.parametrize("forgets", [True, False])
def test_a_training_of_an_earlier_process_goes_on(forgets, tmp_path):
    record = Kept(forgets, before=Reached(train=7, valid=4))
    record.points = [(n, {"train/loss": 1 / n}) for n in range(1, 8)] + [(4, {"valid/accuracy": 0.1})]
    curves = Curves(record, tmp_path, points=1000)
    curves.take([began(6, [point(4, 0.1), point(6, 0.2)]), steps(7, 8), valid(8, 0.3)])
    assert record.steps("train/loss") == [1, 2, 3, 4, 5, 6, 7, 8]
    assert sorted(record.steps("valid/accuracy")) == [4, 6, 8], "the validation that a kill took from the channel comes with the beginning"


def test_a_training_that_starts_anew_is_drawn_anew(curves, record):
    curves.take([began(), steps(*range(1, 7)), valid(6)])
    curves.take([began(0), steps(1, 2, 3)])
    assert record.steps("train/loss") == ([1, 2, 3] if record.forgets else [1, 2, 3, 4, 5, 6])
    assert record.steps("valid/accuracy") == ([] if record.forgets else [6])


def test_a_gang_that_was_given_up_on_is_not_heard_any_more(curves, record):
    lost, other = {"gang": "gang-0"}, {"gang": "gang-1"}
    curves.take([began() | lost, steps(1, 2, 3, 4) | lost, began(2) | other])
    curves.take([steps(5) | lost, steps(3, 4, 5) | other, valid(5, 0.9) | lost, valid(5, 0.5) | other])
    assert record.steps("train/loss") == [1, 2, 3, 4, 5]
    assert record.points[-1] == (5, {"valid/accuracy": 0.5})


def test_a_training_ends_at_its_last_validation(curves, record):
    curves.take([began(), steps(11), valid(11)])
    assert record.ends == []
    curves.take([steps(12), valid(12)])
    assert record.ends == [("train", False)]
    assert record.steps("valid/accuracy") == [11, 12], "written before the end"


def test_a_training_ends_where_early_stopping_ends_it(curves, record):
    curves.take([began(), steps(1, 2, 3), valid(3, over=True)])
    assert record.ends == [("train", False)]


def test_what_gangs_say_in_words_is_no_point(curves, record):
    curves.take([{"kind": "told", "gang": "gang-0", "time": 1.0, "text": "gang-0: grows"}])
    assert record.points == []


def test_a_failed_training_ends_after_its_last_steps_have_come(curves, record, monkeypatch):
    key = "other/trial-0003"
    curves.take([began(key=key), failed(key), failed("other/trial-0004")])
    assert record.ends == []
    curves.take([steps(1, 2, key=key)])
    monkeypatch.setattr(_curves, "LATE_S", 0.0)
    curves.take([])
    assert record.ends == [("tune/trial-0003", True)], "one that never began is none"
    curves.take([began(key=key), failed(key), began(key=key)])
    curves.end_failed()
    assert len(record.ends) == 1, "it was taken up again"


def test_a_training_is_told_with_what_is_set_for_it(curves, record):
    curves.take([began(key="other/trial-0003", settings={"train.optimizer.lr": 0.1, "model.layers": 2})])
    (training,) = record.begun
    assert (training.name, training.stage, training.total, training.metric) == ("tune/trial-0003", "tune", TOTAL, "accuracy")
    assert training.parameters() == {"train.batch": 8, "train.optimizer.lr": 0.1, "model.layers": 2}


@pytest.mark.parametrize(
    ("key", "name"),
    [("mark/train", "train"), ("other/trial-0007", "tune/trial-0007"), ("other/confirm-trial-0007-1", "tune/confirm-trial-0007-1")],
)
def test_a_training_has_the_name_of_its_stage(curves, tmp_path, key, name):
    assert name_of(tmp_path, key) == name


def test_a_student_is_called_after_its_stage(tmp_path):
    write_json(tmp_path / "distil" / "stage.json", {"fingerprint": "student"})
    assert name_of(tmp_path, "student/train") == "distil"
    assert name_of(tmp_path, "unknown/train") == "unknown"
