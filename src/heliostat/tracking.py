"""Feeds the trackers of a run from the gangs' channel: each in a thread of its own, off everyone's path.

A tracker that fails says so once and is dropped; one that is slow is given more at a time; neither is noticed by the run.
`<run>/tracking.json` names the run for tools outside, and says which trackers have its result.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from heliostat.core.manifest import fingerprint, read_json, write_json
from heliostat.core.progress import Progress
from heliostat.trackers._curves import Curves
from heliostat.trackers.base import Base, Outcome, Run, State

FILE = "tracking.json"
PATIENCE_S = 2.0
"""A person who waits longer than this at the end is told why."""
LONGEST_S: dict[State, float] = {"finished": 120.0, "failed": 30.0, "killed": 10.0}
"""Seconds the trackers have, at the end, to take what is still waiting."""


class Tracking:
    """The trackers of one run. A context manager: leaving it ends every record; `heard` is a listener of the engine."""

    def __init__(self, trackers: Sequence[Base], root: Path, config: Mapping[str, Any], show: Progress):
        self._file, self._show = root / FILE, show
        before = read_json(self._file) or {}
        self._told: dict[str, str] = dict(before.get("told", {}))
        """Tracker to the report it has."""
        self._report: Any = None
        self._id = before.get("id") or uuid.uuid4().hex[:16]
        run = Run(root.name, self._id, root, config, resumed="id" in before)
        self._feeds = [Feed(tracker, run, show) for tracker in trackers]
        if trackers:
            self._note()

    def __enter__(self) -> Tracking:
        return self

    def heard(self, event: dict[str, Any]) -> None:
        """An event of the channel; never waits."""
        for feed in self._feeds:
            feed.put(event)

    def finish(self, report: Any) -> None:
        """The `Report` that came out: trackers get what it says when they are closed."""
        self._report = report

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        state: State = "finished" if kind is None else ("failed" if issubclass(kind, Exception) else "killed")
        marks = {feed: self._mark(feed) for feed in self._feeds}
        outcome = outcome_of(read_json(self._report.path / "report.json")) if state == "finished" and self._report else None
        for feed, mark in marks.items():
            new = self._told.get(feed.tracker.name()) != mark
            feed.close(state, outcome if new else None)
        self._await(LONGEST_S[state])
        if outcome:
            self._told |= {feed.tracker.name(): mark for feed, mark in marks.items() if feed.done and not feed.lost}
            self._note()

    def _mark(self, feed: Feed) -> str:
        """Stands for the result as this tracker, set like this, would show it."""
        return fingerprint([feed.tracker.dump(), self._report.fingerprint if self._report else None])

    def _note(self) -> None:
        write_json(self._file, {"id": self._id, "told": self._told}, durable=False)

    def _await(self, longest_s: float) -> None:
        """Until every tracker has taken everything, or its time is up."""
        began, told = time.monotonic(), False
        while late := [feed.tracker.name() for feed in self._feeds if not feed.done]:
            waited = time.monotonic() - began
            if waited > longest_s:
                self._show.message(f"{', '.join(late)}: did not take everything within {longest_s:.0f} s, and is left behind")
                return
            if waited > PATIENCE_S and not told:
                told = True
                self._show.message(f"waiting for {', '.join(late)} to take the last points")
            for feed in self._feeds:
                feed.join(0.05)


class Feed:
    """One tracker at work."""

    def __init__(self, tracker: Base, run: Run, show: Progress):
        self.tracker, self.run, self.show = tracker, run, show
        self.lost = False
        """Whether it failed and was dropped."""
        self._waiting: queue.SimpleQueue[dict[str, Any] | tuple[State, Outcome | None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"tracker-{tracker.name()}", daemon=True)
        self._thread.start()

    def put(self, event: dict[str, Any]) -> None:
        """Queue an event."""
        if not self.lost:
            self._waiting.put(event)

    def close(self, state: State, outcome: Outcome | None) -> None:
        """Queue the end, with the result when the tracker has it not yet."""
        self._waiting.put((state, outcome))

    def join(self, wait_s: float) -> None:
        """Wait a little for the end."""
        self._thread.join(wait_s)

    @property
    def done(self) -> bool:
        """Whether it has taken everything, or is lost."""
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            self._feed()
        except Exception as error:  # noqa: BLE001  whatever a tool does, the run goes on
            self.lost = True
            traceback.print_exc()
            first = (str(error).strip().splitlines() or [""])[0]
            self.show.message(f"{self.tracker.name()}: nothing more is written, and the run goes on: {type(error).__name__}: {first}")

    def _feed(self) -> None:
        """Everything that waits at a time, until the end; a record is opened when there is something to write."""
        curves: Curves | None = None
        for events, end in self._batches():
            if curves is None and (events or (end and end[1])):
                curves = Curves(self.tracker.open(self.run), self.run.folder, self.tracker.points)
            if curves is None:
                continue
            curves.take(events)
            if end is not None:
                state, outcome = end
                curves.end_failed()
                if outcome is not None:
                    curves.record.finish(outcome)
                curves.record.close(state)

    def _batches(self) -> Iterator[tuple[list[dict[str, Any]], tuple[State, Outcome | None] | None]]:
        """(events, the end or None), as they come; the end is the last."""
        while True:
            events: list[dict[str, Any]] = []
            item = self._waiting.get()
            while isinstance(item, dict):
                events.append(item)
                try:
                    item = self._waiting.get_nowait()
                except queue.Empty:
                    break
            else:
                yield events, item
                return
            yield events, None


def outcome_of(record: Mapping[str, Any]) -> Outcome:
    """What a tracker shows of `report.json`."""
    verdict = record["verdict"]
    gates = {gate["name"]: bool(gate["passed"]) for gate in verdict["gates"]}
    return Outcome(verdict["ship"], verdict["because"], {model["name"]: _scores(model) for model in record["models"]}, gates)


def _scores(model: Mapping[str, Any]) -> dict[str, float]:
    found = {f"{suite}/{name}": score["value"] for suite, scores in model["scores"].items() for name, score in scores.items()}
    found |= {f"latency_ms/{name}": value for name, value in model["latency_ms"].items()}
    found |= {"params": model["params"], "bytes": model["bytes"]}
    return {name: float(value) for name, value in found.items() if value is not None}
