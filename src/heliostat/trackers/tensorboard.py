"""TensorBoard: event files below `<run>/tensorboard`, one folder per training. Show them with `tensorboard --logdir RUN/tensorboard`.

Files are written with TensorBoard's own protocol messages and record writer; neither torch nor TensorFlow is imported. A file
is open only while points are written, so that a sweep of many thousand trials holds none.
"""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml

from heliostat.trackers.base import Base, Outcome, Point, Reached, Record, Run, State, Training

FOLDER, RESULT = "tensorboard", "report"
PREFIX = "events.out.tfevents."
VERSION = "brain.Event:2"
"""TensorBoard trusts a START event to say what it shall forget from this version on."""


class Tensorboard(Base):
    """Event files in the run's folder: loss, learning rate, validations, the settings of trials, test scores."""

    package: ClassVar[str] = "tensorboard"
    install: ClassVar[str] = "tensorboard"

    def open(self, run: Run) -> Record:
        return Folders(run)


class Folders(Record):
    """The event files of one run."""

    def __init__(self, run: Run):
        self.run, self.root = run, run.folder / FOLDER
        self._files: dict[str, Events] = {}
        self._open: dict[str, Training] = {}
        """Trials without an end."""

    def begin(self, training: Training) -> Reached:
        mark, folder = training.key.partition("/")[0], self.root / training.name
        if training.settings:
            self._open[training.key] = training
        if training.key in self._files:
            return Reached()  # whoever asks again knows
        for old in folder.glob(f"{PREFIX}*"):
            if old.suffix != f".{mark}":  # of a stage that was made again with other settings
                old.unlink()
        found = reached(folder)
        file = self._files[training.key] = Events(folder, mark)
        file.add(file.start(found.last + 1))
        if not found.last:
            self._settings(training)
        return found

    def back_to(self, training: Training, step: int) -> bool:
        file = self._files[training.key]
        file.add(file.start(step + 1))
        if step == 0:
            self._settings(training)
        return True

    def _settings(self, training: Training) -> None:
        """What a trial tries, for the page HPARAMS."""
        if not training.settings:
            return
        from tensorboard.plugins.hparams.plugin_data_pb2 import SessionStartInfo

        told = SessionStartInfo(start_time_secs=time.time())
        for path, value in sorted(training.settings.items()):
            one = told.hparams[path]
            if isinstance(value, bool):
                one.bool_value = value
            elif isinstance(value, int | float):
                one.number_value = value
            else:
                one.string_value = value if isinstance(value, str) else json.dumps(value)
        self._files[training.key].add(session_start_info=told)

    def write(self, training: Training, points: Sequence[Point]) -> None:
        file = self._files[training.key]
        file.add(*(file.scalars(point) for point in points))

    def end(self, training: Training, *, failed: bool) -> None:
        if self._open.pop(training.key, None):
            from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
            from tensorboard.plugins.hparams.plugin_data_pb2 import SessionEndInfo

            told = SessionEndInfo(status=STATUS_FAILURE if failed else STATUS_SUCCESS, end_time_secs=time.time())
            self._files[training.key].add(session_end_info=told)

    def finish(self, outcome: Outcome) -> None:
        shutil.rmtree(self.root / RESULT, ignore_errors=True)
        now = time.time()
        for model, scores in outcome.scores.items():
            file = Events(self.root / RESULT / model)
            file.add(file.scalars(Point(0, now, {f"test/{name}": value for name, value in scores.items()})))
        gates = [f"- {name}: {'held' if held else '**not met**'}" for name, held in outcome.gates.items()]
        file = Events(self.root / RESULT)
        config = yaml.safe_dump(dict(self.run.config), sort_keys=False, allow_unicode=True)
        file.add(file.text("verdict", "\n".join([f"ship **{outcome.ship}**: {outcome.because}", "", *gates])))
        file.add(file.text("config", f"```yaml\n{config}\n```"))

    def close(self, state: State) -> None:
        for training in list(self._open.values()) if state == "finished" else ():
            self.end(training, failed=False)


class Events:
    """One event file, by this process: every process begins a new one, for the last record of a killed one may be torn."""

    def __init__(self, folder: Path, mark: str = "run"):
        from tensorboard.compat.proto.event_pb2 import Event

        self.path = folder / f"{PREFIX}{time.time():017.6f}.{mark}"
        folder.mkdir(parents=True, exist_ok=True)
        self.add(Event(wall_time=time.time(), file_version=VERSION))

    def add(self, *events: Any, **hparams: Any) -> None:
        """Write events to the end of the file in one piece; `hparams` is one message of the page HPARAMS."""
        from tensorboard.summary.writer.record_writer import RecordWriter

        records = io.BytesIO()
        writer = RecordWriter(records)
        for event in [*events, *([_hparams(**hparams)] if hparams else [])]:
            writer.write(event.SerializeToString())
        with self.path.open("ab") as f:
            f.write(records.getvalue())

    @staticmethod
    def start(step: int) -> Any:
        """A process begins here: TensorBoard forgets what it has of `step` and later. The first of a training is where it counts from."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        return Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START))

    @staticmethod
    def scalars(point: Point) -> Any:
        """The numbers of one step."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in point.values.items()]
        return Event(wall_time=point.time, step=point.step, summary=Summary(value=values))

    @staticmethod
    def text(tag: str, words: str) -> Any:
        """Words in markdown, for the page TEXT."""
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING
        from tensorboard.plugins.text.metadata import create_summary_metadata

        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype=DT_STRING, string_val=[words.encode()], tensor_shape=shape)
        return _summary(tag, create_summary_metadata(display_name=tag, description=""), tensor)


def _hparams(**told: Any) -> Any:
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    (name,) = told
    tags: Mapping[str, str] = {"session_start_info": metadata.SESSION_START_INFO_TAG, "session_end_info": metadata.SESSION_END_INFO_TAG}
    return _summary(tags[name], metadata.create_summary_metadata(HParamsPluginData(**told)), metadata.NULL_TENSOR)


def _summary(tag: str, metadata: Any, tensor: Any) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Event(wall_time=time.time(), summary=Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)]))


def reached(folder: Path) -> Reached:
    """How far the points in `folder` go, as TensorBoard would show them."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    steps: dict[str, set[int]] = {"train": {0}, "valid": {0}}
    for file in sorted(folder.glob(f"{PREFIX}*")):
        for raw in RawEventFileLoader(str(file)).Load():
            event = Event.FromString(raw)
            if event.session_log.status == SessionLog.START:
                steps = {kind: {step for step in own if step < event.step} | {0} for kind, own in steps.items()}
            for kind in {value.tag.partition("/")[0] for value in event.summary.value} & steps.keys():
                steps[kind].add(event.step)
    return Reached(max(steps["train"]), max(steps["valid"]))
