"""From the events of the channel to the points of a tracker: each point once, whatever comes again.

A training may go back to its last checkpoint, in this process or after a kill; then its steps come again. The tool drops what
was beyond, or the points that come again are left out. Validations that got lost in a kill come with the event that says where the
training goes on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from heliostat.core.manifest import read_json
from heliostat.core.workspace import STARTED
from heliostat.trackers.base import Point, Reached, Record, Training

LATE_S = 5.0
"""A failure is known at once, and the last steps before it come with the channel."""


class Curves:
    """Feeds one tracker's `record` of the run in `root`, with at most `points` points of a loss curve."""

    def __init__(self, record: Record, root: Path, points: int):
        self.record, self.root, self.points = record, root, points
        self.trainings: dict[str, Training] = {}
        self.reached: dict[str, Reached] = {}
        self._gangs: dict[str, str | None] = {}
        self._waiting: dict[str, list[Point]] = {}
        self._failed: dict[str, float] = {}

    def take(self, events: Iterable[dict[str, Any]]) -> None:
        """Some events, in their order; what they add to a training is written at one time."""
        for event in events:
            match event["kind"]:
                case "began":
                    self._begin(event)
                case "step" if self._is_at(event):
                    self._losses(event)
                case "valid" if self._is_at(event):
                    self._validated(event)
                case "failed" if event["key"] in self.trainings:
                    self._failed[event["key"]] = time.monotonic()
        self._write_all()
        self.end_failed(LATE_S)

    def end_failed(self, age_s: float = 0.0) -> None:
        """End the trainings that failed so long ago."""
        for key in [key for key, since in self._failed.items() if time.monotonic() - since >= age_s]:
            del self._failed[key]
            self.record.end(self.trainings[key], failed=True)

    def _is_at(self, event: dict[str, Any]) -> bool:
        """Whether the event is of the gang that has the training now, and not of one that was given up on and still works."""
        return self._gangs[event["key"]] == event.get("gang")

    def _begin(self, event: dict[str, Any]) -> None:
        key, step = event["key"], event["step"]
        self._write_all()
        training = Training(key, name_of(self.root, key), event["total"], event["metric"], event["train"], event["settings"])
        found = self.record.begin(training)
        reached = self.reached.get(key, found)
        if reached.last > step and self.record.back_to(training, step):
            reached = Reached(min(reached.train, step), min(reached.valid, step))
        self.trainings[key], self.reached[key] = training, reached
        self._gangs[key] = event.get("gang")
        self._failed.pop(key, None)
        for point in (point for point in event["curve"] if point["value"] is not None):
            self._add(key, Point(point["step"], event["time"], {f"valid/{training.metric}": point["value"]}))

    def _losses(self, event: dict[str, Any]) -> None:
        stride = math.ceil(event["total"] / self.points)
        for step, loss, lr, _, skipped in event["steps"]:
            if step % stride == 0 or step in (1, event["total"]):
                told = {"train/skipped_steps": skipped} if skipped else {}
                self._add(event["key"], Point(step, event["time"], {"train/loss": loss, "train/lr": lr, **told}))

    def _validated(self, event: dict[str, Any]) -> None:
        key, step, best = event["key"], event["step"], event["best"]
        training = self.trainings[key]
        if event["value"] is not None:
            measured = best.get("objectives", {}) if best["step"] == step else {}
            values = {f"valid/{training.metric}": event["value"], **{f"valid/{name}": value for name, value in measured.items()}}
            self._add(key, Point(step, event["time"], values))
        if event["over"] or step >= event["total"]:
            self._write_all()
            self.record.end(training, failed=False)

    def _add(self, key: str, point: Point) -> None:
        """Note a point, unless there is one of its step already."""
        kind = next(iter(point.values)).partition("/")[0]
        reached = self.reached[key]
        if point.step > getattr(reached, kind):
            self.reached[key] = replace(reached, **{kind: point.step})
            self._waiting.setdefault(key, []).append(point)

    def _write_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for key, points in waiting.items():
            self.record.write(self.trainings[key], points)


def name_of(root: Path, key: str) -> str:
    """What a person calls the training: its stage, and its name there when the stage has more than one."""
    mark, _, name = key.partition("/")
    started = (path for path in sorted(root.glob(f"*/{STARTED}")) if (read_json(path) or {}).get("fingerprint") == mark)
    stage = next((path.parent.name for path in started), mark)
    return stage if name == "train" else f"{stage}/{name}"
