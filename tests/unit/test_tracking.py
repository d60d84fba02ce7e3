"""Trackers are fed off everyone's path; one that fails or hangs is told of once, and costs the run nothing."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from heliostat import tracking
from heliostat.core.manifest import read_json, write_json
from heliostat.core.progress import Progress
from heliostat.trackers.base import Reached, Record
from heliostat.tracking import Tracking, outcome_of

REPORT = {
    "verdict": {"ship": "student", "because": "it is small", "gates": [{"name": "accuracy", "limit": 0.5, "value": 0.6, "passed": True}]},
    "models": [
        {
            "name": "student",
            "scores": {"domain": {"accuracy": {"value": 0.75, "low": 0.7, "high": 0.8}, "auc": {"value": None, "low": None, "high": None}}},
            "latency_ms": {"p50": 2.0},
            "params": 9,
            "bytes": 36,
        }
    ],
}


class Log(Record):
    """A tool that notes what it is told; what is in `breaks` raises, what is in `hangs` waits for `go`."""

    def __init__(self, tracker, run):
        self.tracker, self.run, self.told = tracker, run, tracker.told
        self._note("open", run.resumed)

    def _note(self, what, *facts):
        if what in self.tracker.hangs:
            self.tracker.go.wait(20)
        if what in self.tracker.breaks:
            raise ConnectionError("no route\nto the server")
        self.told.append((what, *facts))

    def begin(self, training):
        self._note("begin", training.name)
        return Reached()

    def write(self, training, points):
        self._note("write", *(point.step for point in points))

    def end(self, training, *, failed):
        self._note("end", failed)

    def finish(self, outcome):
        self._note("finish", outcome.ship)

    def close(self, state):
        self._note("close", state)


class Told:
    """A tracker of this test: not a member of the family, but it has all that one has."""

    points = 1000

    def __init__(self, name="told", breaks=(), hangs=()):
        self._name, self.breaks, self.hangs = name, breaks, hangs
        self.told, self.go, self.thread = [], threading.Event(), None

    def name(self):
        return self._name

    def dump(self):
        return {}

    def open(self, run):
        self.thread = threading.current_thread()
        return Log(self, run)


class Said(Progress):
    def __init__(self):
        self.said = []

    def message(self, text):
        self.said.append(text)


@pytest.fixture
def show():
    return Said()


@pytest.fixture
def report(tmp_path):
    write_json(tmp_path / "report" / "report.json", REPORT)
    return SimpleNamespace(path=tmp_path / "report", fingerprint="first")


def events(*steps):
    first = {
        "kind": "began",
        "key": "a/train",
        "time": 1.0,
        "step": 0,
        "total": 9,
        "curve": [],
        "metric": "auc",
        "train": {},
        "settings": {},
    }
    told = [(n, 0.5, 0.1, 8, 0) for n in steps]
    return [first, {"kind": "step", "key": "a/train", "time": 1.0, "step": steps[-1], "total": 9, "steps": told}]


def flat_steps(tracker):
    return [step for what, *rest in tracker.told if what == "write" for step in rest]


def test_everything_reaches_every_tracker_and_the_result_comes_last(tmp_path, show, report):
    trackers = [Told("one"), Told("two")]
    with Tracking(trackers, tmp_path, {}, show) as tracked:
        for event in events(1, 2, 3):
            tracked.heard(event)
        tracked.finish(report)
    for tracker in trackers:
        assert tracker.told[:2] == [("open", False), ("begin", "a")]
        assert flat_steps(tracker) == [1, 2, 3]
        assert tracker.told[-2:] == [("finish", "student"), ("close", "finished")]
        assert tracker.thread is not threading.current_thread()
    assert show.said == []


def test_a_run_where_nothing_is_left_to_do_opens_no_tracker(tmp_path, show, report):
    for tracker in (first := Told(), again := Told(), later := Told("later")):
        with Tracking([tracker], tmp_path, {}, show) as tracked:
            tracked.finish(report)
    assert first.told == [("open", False), ("finish", "student"), ("close", "finished")]
    assert again.told == []
    assert later.told == [("open", True), *first.told[1:]], "a tracker that was not there before gets the result"
    newer = SimpleNamespace(path=report.path, fingerprint="second")
    with Tracking([third := Told()], tmp_path, {}, show) as tracked:
        tracked.finish(newer)
    assert ("finish", "student") in third.told


def test_the_run_keeps_its_name_for_tools_outside(tmp_path, show, report):
    ids = []
    for _ in range(2):
        with Tracking([Told()], tmp_path, {}, show):
            ids.append(read_json(tmp_path / "tracking.json")["id"])
    assert ids[0] == ids[1]
    with Tracking([], tmp_path / "other", {}, show):
        assert not (tmp_path / "other").exists(), "without a tracker nothing is written"


@pytest.mark.parametrize("where", ["open", "begin", "write", "finish", "close"])
def test_a_tracker_that_fails_says_so_once_and_costs_nobody_else(tmp_path, show, report, where, capsys):
    bad, good = Told("bad", breaks=(where,)), Told("good")
    with Tracking([bad, good], tmp_path, {}, show) as tracked:
        for event in [*events(1, 2), *events(3)[1:]]:
            tracked.heard(event)
        tracked.finish(report)
    assert show.said == ["bad: nothing more is written, and the run goes on: ConnectionError: no route"]
    assert "Traceback" in capsys.readouterr().err, "and the log has the whole of it"
    assert flat_steps(good) == [1, 2, 3]
    assert good.told[-1] == ("close", "finished")
    assert read_json(tmp_path / "tracking.json")["told"].keys() == {"good"}, "it gets the result when it works again"


def test_a_slow_tracker_holds_up_nobody_and_gets_more_at_a_time(tmp_path, show):
    slow = Told(hangs=("begin",))
    with Tracking([slow], tmp_path, {}, show) as tracked:
        for event in events(1):
            tracked.heard(event)
        for step in range(2, 9):
            tracked.heard(events(step)[1])
        assert flat_steps(slow) == []
        slow.go.set()
    assert flat_steps(slow) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert sum(what == "write" for what, *_ in slow.told) <= 2


def test_a_tracker_that_hangs_is_left_behind(tmp_path, show, monkeypatch, report):
    monkeypatch.setattr(tracking, "PATIENCE_S", 0.0)
    monkeypatch.setattr(tracking, "LONGEST_S", {"finished": 0.2})
    hung = Told(hangs=("open",))
    with Tracking([hung], tmp_path, {}, show) as tracked:
        tracked.finish(report)
    assert [text.split(":")[0] for text in show.said] == ["waiting for told to take the last points", "told"]
    assert "left behind" in show.said[-1]
    assert read_json(tmp_path / "tracking.json")["told"] == {}
    hung.go.set()


@pytest.mark.parametrize(("error", "state"), [(ValueError, "failed"), (KeyboardInterrupt, "killed"), (SystemExit, "killed")])
def test_a_run_that_does_not_finish_says_how_it_ended(tmp_path, show, error, state):
    told = Told()
    tracked = Tracking([told], tmp_path, {}, show)
    for event in events(1):
        tracked.heard(event)
    with pytest.raises(error), tracked:
        raise error
    assert told.told[-1] == ("close", state)
    assert flat_steps(told) == [1]


def test_what_came_out_is_read_from_the_report():
    outcome = outcome_of(REPORT)
    assert (outcome.ship, outcome.because, outcome.gates, outcome.passed) == ("student", "it is small", {"accuracy": True}, True)
    assert outcome.scores == {"student": {"domain/accuracy": 0.75, "latency_ms/p50": 2.0, "params": 9.0, "bytes": 36.0}}
