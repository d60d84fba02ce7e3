"""Contract of trackers."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from heliostat.core.family import Member

State = Literal["finished", "failed", "killed"]
"""How a run ended; killed is interrupted, and can go on."""


@dataclass(frozen=True)
class Run:
    """The run, as a tracker sees it."""

    name: str
    id: str
    """Stays with the run's folder, wherever that is moved."""
    folder: Path
    config: Mapping[str, Any]
    """The whole resolved config."""
    resumed: bool
    """Whether trackers were told of this run before, in another process."""


@dataclass(frozen=True)
class Training:
    """One training of a run."""

    key: str
    """Fingerprint of its stage, a slash, its name: equal keys are the same training."""
    name: str
    """What a person calls it: train, tune/trial-0007, distil."""
    total: int
    """Steps of the whole training."""
    metric: str
    train: Mapping[str, Any]
    """Its resolved TrainConfig."""
    settings: Mapping[str, Any]
    """Config path to the value a trial tries; empty for a training that is no trial."""

    @property
    def stage(self) -> str:
        """The stage it belongs to."""
        return self.name.partition("/")[0]

    def parameters(self) -> dict[str, Any]:
        """Everything that is set for it, by config path."""
        return {**flat({"train": self.train}), **self.settings}


@dataclass(frozen=True)
class Point:
    """Numbers of one step: train/loss, train/lr and train/skipped_steps, or valid/<metric> and valid/<objective>."""

    step: int
    time: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Reached:
    """How far the points of a training go: the last step of its `train/` and its `valid/` numbers, 0 when there are none."""

    train: int = 0
    valid: int = 0

    @property
    def last(self) -> int:
        return max(self.train, self.valid)


@dataclass(frozen=True)
class Outcome:
    """What came out of a run."""

    ship: str
    because: str
    scores: Mapping[str, Mapping[str, float]]
    """Model to what was measured on the test split and beside it: domain/accuracy, latency_ms/p50, params ..."""
    gates: Mapping[str, bool] = field(default_factory=dict)
    """The report's gates and whether they held."""

    @property
    def passed(self) -> bool:
        return all(self.gates.values())


class Record(ABC):
    """What a tracker keeps of one run. All of it is called from one thread; a method that raises ends the tracker and nothing else."""

    @abstractmethod
    def begin(self, training: Training) -> Reached:
        """Take up a training, or take it up again; how far its points go already, of earlier processes too."""

    def back_to(self, training: Training, step: int) -> bool:
        """The training goes on from `step`, before the last of its points: drop those after it, if the tool can.

        False keeps them: the steps that come again are the same training, and are not given once more.
        """
        return False

    @abstractmethod
    def write(self, training: Training, points: Sequence[Point]) -> None:
        """More points, none of them given before, in the order of their steps."""

    @abstractmethod
    def end(self, training: Training, *, failed: bool) -> None:
        """Nothing more is expected of the training: it is at its end, or it failed."""

    @abstractmethod
    def finish(self, outcome: Outcome) -> None:
        """What came out; may be given again, after the process before this one was killed."""

    @abstractmethod
    def close(self, state: State) -> None:
        """The process ends. Trainings that have no end yet were stopped when the run is finished, and may go on when it is not."""


class Base(Member):
    """Shows the curves of a run's trainings, and what came out, in some tool, through the tool's own client.

    It lives in the driver, in a thread of its own, and is fed from the events that gangs post; it may be slow and it may fail, and
    the run goes on. It bears no identity: with other trackers a run is the same run.
    """

    package: ClassVar[str]
    """The Python package of its client, imported in `open` and not before."""
    install: ClassVar[str]
    """What pip is told to install."""

    points: int = Field(1000, ge=1)
    """Most points of one training's loss curve, evenly spaced; every validation is kept."""

    @abstractmethod
    def open(self, run: Run) -> Record:
        """Begin or go on with the record of a run."""

    def problems(self) -> list[str]:
        """Why it cannot be used, as far as this machine can tell; each may begin with its option."""
        if importlib.util.find_spec(self.package) is not None:
            return []
        return [f"the Python package '{self.package}' is not installed. Install it with: pip install '{self.install}'"]


def flat(tree: Any, above: str = "") -> dict[str, Any]:
    """A tree of settings as one mapping from config path to value; an empty list or mapping is a value."""
    if isinstance(tree, Mapping | list | tuple) and tree:
        items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
        found: dict[str, Any] = {}
        for name, value in items:
            found |= flat(value, f"{above}.{name}" if above else str(name))
        return found
    return {above: tree}
