"""The memory of a run: a stage runs once, and its manifest is the only proof that it did.

`Workspace.do(stage, config, **inputs)`:
1. the fingerprint is a hash of (stage, its VERSION, its config, seed, the inputs' fingerprints) and nothing else; a
   finished manifest with that fingerprint is opened and returned ("kept");
2. a half-done folder with that fingerprint is resumed by the stage; with another one `do` stops and shows the
   difference field by field, and goes on only with `replace`: nothing is ever deleted silently;
3. otherwise the stage runs, and its manifest is written last.

`Plan.do` answers the same questions and starts nothing.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heliostat.core.artifact import Artifact, Pending, open_artifact
from heliostat.core.errors import UserError
from heliostat.core.layout import Layout
from heliostat.core.manifest import fingerprint, read_json, write_json
from heliostat.core.progress import Progress
from heliostat.core.settings import identify

STARTED, FINISHED = "stage.json", "manifest.json"
Stage = Callable[..., Artifact]


@dataclass(frozen=True)
class Context:
    """What a stage is given besides its config and its inputs."""

    folder: Path
    """The stage's own folder inside the run."""
    fingerprint: str
    """Of this stage in this run; the artifact it returns carries it."""
    seed: int
    layout: Layout
    engine: Any
    """The driver's handle on Ray (`heliostat.engine.Engine`), started at its first use."""
    show: Progress
    name: str
    """The stage's name in this run, for `show`."""

    def forget(self) -> None:
        """Nothing here can be resumed: the next attempt starts anew, and may have other settings."""
        (self.folder / STARTED).unlink(missing_ok=True)


@dataclass(frozen=True)
class Decision:
    """What `do` would do with one stage, and why."""

    name: str
    state: str
    """kept, resume, run, or changed (refused without --replace)."""
    why: str
    fingerprint: str
    differences: tuple[str, ...] = ()


@dataclass
class Workspace:
    """One run directory; use it as a context manager: it is locked while open."""

    root: Path
    seed: int
    layout: Layout = field(default_factory=Layout)
    engine: Any = None
    show: Progress = field(default_factory=Progress)
    replace: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    _lock: Any = None

    def __enter__(self) -> Workspace:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock = (self.root / ".lock").open("w")
        except OSError as error:
            raise UserError(f"The run's folder '{self.root}' cannot be written: {error.strerror}. Choose another --storage.") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise UserError(f"Another process is running in '{self.root}'. Wait for it, or choose another --name.") from None
        return self

    def __exit__(self, *exc: object) -> None:
        self._lock.close()

    def do(self, stage: Stage, config: Any, *, name: str | None = None, **inputs: Any) -> Any:
        """Run `stage` once in this run and remember it; returns its artifact."""
        name = name or stage.__module__.split(".")[-2]
        identity = identity_of(stage, config, self.seed, inputs)
        decision = decide(self.root / name, name, identity)
        if decision.state == "changed":
            if not self.replace:
                raise changed_error(self.root, decision)
            shutil.rmtree(self.root / name)
        self.show.stage(name, decision.state, decision.why)
        if decision.state == "kept":
            manifest = read_json(self.root / name / FINISHED, self.root)
            self.seconds[name] = manifest["seconds"]
            return open_artifact(manifest["output"])
        return self._run(stage, config, name, identity, inputs)

    def _run(self, stage: Stage, config: Any, name: str, identity: dict[str, Any], inputs: dict[str, Any]) -> Any:
        folder = self.root / name
        mark = fingerprint(identity)
        write_json(folder / STARTED, {"fingerprint": mark, "identity": identity}, self.root)
        context = Context(folder, mark, self.seed, self.layout, self.engine, self.show, name)
        began = time.monotonic()
        artifact = stage(config, ctx=context, **inputs)
        seconds = time.monotonic() - began
        earlier = _earlier_seconds(folder)
        self.seconds[name] = seconds + earlier
        manifest = {
            "stage": name,
            "fingerprint": mark,
            "identity": identity,
            "output": artifact.model_dump(mode="json"),
            "seconds": round(seconds + earlier, 3),
            "finished_unix": round(time.time(), 3),
            "pid": os.getpid(),
        }
        write_json(folder / FINISHED, manifest, self.root)
        self.show.done(name, seconds, artifact.summary())
        return artifact


@dataclass
class Plan:
    """Answers what a run would do, stage by stage, without starting anything."""

    root: Path
    seed: int
    decisions: list[Decision] = field(default_factory=list)
    layout: Layout = field(default_factory=Layout)
    seconds: dict[str, float] = field(default_factory=dict)

    def do(self, stage: Stage, config: Any, *, name: str | None = None, **inputs: Any) -> Any:
        """The finished artifact when it is kept; otherwise a `Pending` that stands for what would come."""
        name = name or stage.__module__.split(".")[-2]
        identity = identity_of(stage, config, self.seed, inputs)
        decision = decide(self.root / name, name, identity)
        self.decisions.append(decision)
        if decision.state == "kept":
            return open_artifact(read_json(self.root / name / FINISHED, self.root)["output"])
        return Pending(fingerprint=decision.fingerprint)


def identity_of(stage: Stage, config: Any, seed: int, inputs: dict[str, Any]) -> dict[str, Any]:
    """Everything that decides what the stage gives, as plain JSON."""
    package = stage.__module__.rsplit(".", 1)[0]
    version = importlib.import_module(f"{package}.config").VERSION
    return {
        "stage": f"{stage.__module__}.{stage.__name__}",
        "version": version,
        "config": identify(config),
        "seed": seed,
        "inputs": {k: identify(v) for k, v in sorted(inputs.items())},
    }


def decide(folder: Path, name: str, identity: dict[str, Any]) -> Decision:
    """kept, resume, run or changed: a pure function of what is on disk and the identity."""
    mark = fingerprint(identity)
    finished = read_json(folder / FINISHED)
    started = read_json(folder / STARTED)
    if finished and finished.get("fingerprint") == mark:
        return Decision(name, "kept", f"finished in {finished['seconds']:.0f} s, nothing changed", mark)
    before = finished or started
    if before is None:
        return Decision(name, "run", "not done yet", mark)
    if before.get("fingerprint") == mark:
        return Decision(name, "resume", "started before and not finished", mark)
    differences = tuple(difference(before.get("identity", {}), identity))
    count = "1 setting differs" if len(differences) == 1 else f"{len(differences)} settings differ"
    return Decision(name, "changed", f"{count} from what is there", mark, differences)


def difference(before: Any, after: Any, path: str = "") -> list[str]:
    """The fields in which two plain JSON values differ, one `path: old -> new` each."""
    if isinstance(before, dict) and isinstance(after, dict):
        lines: list[str] = []
        for key in sorted(before.keys() | after.keys()):
            lines += difference(before.get(key), after.get(key), f"{path}.{key}" if path else key)
        return lines
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [line for i, (a, b) in enumerate(zip(before, after, strict=True)) for line in difference(a, b, f"{path}.{i}")]
    return [] if before == after else [f"{path}: {before!r} -> {after!r}"]


def changed_error(root: Path, decision: Decision) -> UserError:
    """The refusal `do` gives when a stage on disk was made by other settings."""
    shown = [f"    {line}" for line in decision.differences[:20]]
    return UserError(
        "\n".join(
            [
                f"Stage '{decision.name}' in '{root}' was made with other settings:",
                *shown,
                "  To throw that stage away and make it again: add --replace. To keep both: choose another --name.",
            ]
        )
    )


def _earlier_seconds(folder: Path) -> float:
    """Seconds an interrupted attempt at this stage already spent, as far as it noted them."""
    noted = read_json(folder / "seconds.json")
    return float(noted.get("seconds", 0.0)) if isinstance(noted, dict) else 0.0
