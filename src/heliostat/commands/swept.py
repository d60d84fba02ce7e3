"""A sweep as it is found on disk: from its manifest when it is finished, else from its ledger, as far as it came."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from heliostat.artifacts import Spent, Sweep
from heliostat.core.artifact import open_artifact
from heliostat.core.errors import UserError
from heliostat.core.ledger import replay
from heliostat.core.manifest import read_json
from heliostat.tune.mirror import FILE as MIRROR

STAGE = "tune"


@dataclass(frozen=True)
class Swept:
    """What there is of one run's sweep."""

    root: Path
    sweep: Sweep
    """While it is not finished its trials are `heliostat.tune.standing.Standing`, and it has no finalists."""
    wanted: int
    """Trials that were asked for."""
    heard_s: float | None = None
    """Seconds since its ledger was written; None when it is finished."""

    @property
    def finished(self) -> bool:
        return self.heard_s is None

    @property
    def mirror(self) -> Path | None:
        """Optuna's database of it, when there is one."""
        path = self.root / STAGE / MIRROR
        return path if path.exists() else None


def read_sweep(root: Path) -> Swept:
    """The sweep of the run in `root`; `UserError` when there is none."""
    story = read_json(root / "run.json") or {}
    config = story.get("config") or {}
    manifest = read_json(root / STAGE / "manifest.json", root)
    if isinstance(manifest, dict) and manifest.get("output", {}).get("kind") == "sweep":
        sweep = cast(Sweep, open_artifact(manifest["output"]))
        return Swept(root, sweep if sweep.importance else _with_importance(sweep, config), len(sweep.trials))
    ledger = root / STAGE / "ledger.jsonl"
    events = replay(ledger)[0]
    if events:
        return _unfinished(root, config, events, (story.get("expected") or {}).get(STAGE), max(0.0, time.time() - ledger.stat().st_mtime))
    if config.get("tune") is None:
        raise UserError(f"'{root}' has no sweep: its config has no section tune. What it has: heliostat show {root}")
    raise UserError(f"The sweep of '{root}' has not begun: no trial is on its ledger yet. Start the run, or wait until its corpus is made.")


def _with_importance(sweep: Sweep, config: dict[str, Any]) -> Sweep:
    """The sweep with its importance worked out now, when its space is known."""
    from heliostat.tune.importance import FEWEST_TRIALS, importance
    from heliostat.tune.space import parse_space

    space = (config.get("tune") or {}).get("space")
    if not space or len(sweep.trials) < FEWEST_TRIALS:
        return sweep
    return sweep.model_copy(update={"importance": importance(sweep.trials, parse_space(space))})


def _unfinished(root: Path, tree: dict[str, Any], events: list[dict[str, Any]], expected: dict[str, Any] | None, heard_s: float) -> Swept:
    from heliostat.config import RunConfig
    from heliostat.core.family import find
    from heliostat.core.settings import parse
    from heliostat.tune.standing import Standings

    config = parse(RunConfig, tree, where="run.json")
    if config.tune is None:
        raise UserError(f"'{root}' holds a sweep's ledger, but its run.json has no section tune. Was it written by another config?")
    metric = config.tune.metric or config.task.metric
    kind: Any = find("metrics", metric)
    mode = config.tune.mode or kind.mode
    rungs = config.tune.scheduler.rungs()
    standings = Standings(mode=mode, rungs=len(rungs), events=events)
    trials = tuple(standings.trials.values())
    objectives = _directions(config)
    sweep = Sweep(
        fingerprint=(read_json(root / STAGE / "stage.json") or {}).get("fingerprint", ""),
        path=root / STAGE,
        metric=metric,
        mode=mode,
        trials=trials,
        finalists=(),
        wall_s=max((float(e.get("wall_s", 0.0)) for e in events), default=0.0),
        busy_s=sum(t.busy_s for t in trials),
        slots=max(1, sum(t.state == "running" for t in trials)),
        startup_s=0.0,
        rungs=rungs,
        objectives=objectives,
        front=_front(trials, mode, objectives),
        expected=Spent.model_validate(expected) if expected else None,
        spent=_spent(events, rungs),
    )
    return Swept(root, _with_importance(sweep, tree), config.tune.trials, heard_s)


def _directions(config: Any) -> dict[str, Any]:
    """Names of the objectives and which direction is better."""
    from heliostat.tune.objectives.general import General

    found = [o.resolved(config.evaluate.general) if isinstance(o, General) else o for o in config.tune.objectives]
    return {objective.label(): objective.mode for objective in found}


def _front(trials: tuple[Any, ...], mode: Any, objectives: dict[str, Any]) -> tuple[int, ...]:
    from heliostat.tune.weighing import Weighed, Weighing, front

    measured = [t for t in trials if all(name in t.objectives for name in objectives)]
    weighing = Weighing(mode, {name: Weighed(None, direction, None, None) for name, direction in objectives.items()})
    return front(measured, weighing) if objectives else ()


def _spent(events: list[dict[str, Any]], rungs: tuple[float, ...]) -> Spent:
    """What the sweep has cost so far, as far as its ledger tells."""
    from heliostat.tune.outlook import trainings
    from heliostat.tune.schedulers.base import Job

    done = {(e["trial"], e["rung"]) for e in events if e["event"] == "result"}
    jobs = [Job(e["trial"], e["rung"], e.get("parent")) for e in events if e["event"] == "job" and (e["trial"], e["rung"]) in done]
    return Spent(
        jobs=tuple(sum(job.rung == rung for job in jobs) for rung in range(len(rungs))),
        trainings=trainings(jobs, rungs),
        wall_s=max((float(e["wall_s"]) for e in events if "wall_s" in e), default=None),
        checkpoint_bytes=None,
        cost=None,
    )
