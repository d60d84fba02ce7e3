"""Warm start: what an older sweep found, as far as it says something about a new one.

The older sweep's ledger is read, whether that sweep finished or not, as far as it went when the new one began. With the same data
its trials are told to the sampler as trials of this sweep, numbered -n .. -1; with changed data its best settings are only tried
first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heliostat.core.errors import UserError, nearest
from heliostat.core.family import build, find
from heliostat.core.ledger import replay
from heliostat.core.manifest import read_json
from heliostat.tune.samplers.base import Told
from heliostat.tune.space import Space, completed

if TYPE_CHECKING:
    from heliostat.tune.config import WarmStart

STAGE, LEDGER = "tune", "ledger.jsonl"
RECORDS = ("manifest.json", "stage.json")
"""What says how the older sweep was set: the finished one's, or the begun one's."""
SAME_SHARE = 1e-6
OUTSIDE, UNMEASURED = "outside the space", "without a result"
NO_RUNG, UNKNOWN = "without a value at a rung of this sweep", "without settings on record"


@dataclass(frozen=True)
class Earlier:
    """What an older sweep gives to a new one."""

    trials: tuple[Told, ...] = ()
    """With the same data: its trials, with this sweep's rungs."""
    first_points: tuple[dict[str, Any], ...] = ()
    """With changed data: its best settings, best first, as far as this space has them."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Trials that say nothing about this sweep, by reason."""
    told: str = ""
    """One sentence for people."""


@dataclass
class _Trial:
    """One trial of the older sweep."""

    settings: dict[str, Any] | None = None
    values: dict[int, float] = field(default_factory=dict)
    """The older sweep's rung to the value there, with the settings of now."""
    failed: bool = False


def earlier(
    warm: WarmStart, space: Space, *, metric: str, rungs: Sequence[float], mode: str | None = None, objectives: Sequence[Any] = ()
) -> Earlier:
    """What the sweep of `warm.run` says about one over `space`; `UserError` when it says nothing, or ranked by something else.

    `mode` None is the metric's own; `objectives` are those of the new sweep.
    """
    folder = sweep_folder(warm.run)
    record = next((r for name in RECORDS if isinstance(r := read_json(folder / name), dict) and "identity" in r), None)
    if record is None:
        raise UserError(f"'{folder}' does not say how its sweep was set: neither {' nor '.join(RECORDS)} is whole.")
    config, inputs = record["identity"]["config"], record["identity"]["inputs"]
    older = build("tune.schedulers", config["scheduler"]).rungs()  # type: ignore[attr-defined]
    trials = _read(folder, record, warm.up_to)
    if warm.data == "changed":
        return _first(warm, trials, space)
    was = (config.get("metric") or inputs["task"]["metric"], config.get("mode"))
    _refuse_other_ranking(was, (metric, mode), config.get("objectives", []), [o.identity() for o in objectives])
    return _same(warm, trials, space, [_place(share, rungs) for share in older])


def sweep_folder(run: str, storage: Path = Path("runs")) -> Path:
    """The folder of the sweep of `run`, a folder or a name in `storage`; `UserError` with the nearest run that has one."""
    places = [Path(run).expanduser(), storage.expanduser() / run]
    for place in places:
        if (place / STAGE / LEDGER).exists():
            return place / STAGE
    known = sorted(p.parent.parent.name for p in storage.expanduser().glob(f"*/{STAGE}/{LEDGER}"))
    close = nearest(Path(run).name, known)
    hint = f" Did you mean '{close}'?" if close and close != run else ""
    what = "holds no sweep" if any(place.is_dir() for place in places) else "is no run"
    raise UserError(
        f"'{run}' {what}.{hint} Runs with a sweep in '{storage}': {', '.join(known) or 'none'}. Give the folder of another one."
    )


def _read(folder: Path, record: Mapping[str, Any], up_to: int | None) -> dict[int, _Trial]:
    """Every trial that began, from `up_to` bytes of the ledger; settings it does not hold come from the manifest."""
    trials: dict[int, _Trial] = {}
    for event in replay(folder / LEDGER, up_to)[0]:
        if event.get("event") not in ("job", "result"):
            continue
        trial = trials.setdefault(event["trial"], _Trial())
        if event["event"] == "job" and event.get("settings") is not None:
            trial.settings, trial.values = event["settings"], {}  # what it gave with other settings is not theirs
        elif event["event"] == "result":
            trial.failed = event["value"] is None
            if event["value"] is not None:
                trial.values[event["rung"]] = event["value"]
    for known in record.get("output", {}).get("trials", []):
        if known["number"] in trials and trials[known["number"]].settings is None:
            trials[known["number"]].settings = known["settings"]
    return trials


def _refuse_other_ranking(was: tuple[str, str | None], now: tuple[str, str | None], old: list[Any], new: list[Any]) -> None:
    """Values of sweeps that rank by something else cannot be compared."""
    (metric_was, direction_was), (metric, direction) = (_direction(*was), _direction(*now))
    if (metric_was, direction_was) != (metric, direction):
        raise UserError(
            f"the older sweep ranks by {metric_was} ({direction_was}) and this one by {metric} ({direction}), so its values say nothing."
            " Use its metric, or set data: changed."
        )
    if old != new:
        raise UserError("the older sweep weighs other tune.objectives, so its values say nothing. Use the same ones, or set data: changed.")


def _direction(metric: str, mode: str | None) -> tuple[str, str]:
    found: Any = find("metrics", metric)
    return metric, mode or found.mode


def _place(share: float, rungs: Sequence[float]) -> int | None:
    """The rung of the new sweep at the same share of a training."""
    return next((i for i, own in enumerate(rungs) if abs(own - share) < SAME_SHARE), None)


def _same(warm: WarmStart, trials: dict[int, _Trial], space: Space, places: list[int | None]) -> Earlier:
    left: Counter[str] = Counter()
    usable: list[tuple[dict[str, Any], dict[int, float], Any]] = []
    for _, trial in sorted(trials.items()):
        values = {place: value for rung, value in trial.values.items() if (place := places[rung]) is not None}
        if trial.settings is None:
            left[UNKNOWN] += 1
        elif not (space.holds(trial.settings) and space.allows(trial.settings)):
            left[OUTSIDE] += 1
        elif not trial.failed and not trial.values:
            left[UNMEASURED] += 1
        elif not trial.failed and not values:
            left[NO_RUNG] += 1
        else:
            state = "failed" if trial.failed else ("completed" if len(places) - 1 in trial.values else "paused")
            usable.append((trial.settings, values, state))
    kept = [Told(i - len(usable), settings, values, state) for i, (settings, values, state) in enumerate(usable)]
    if not kept:
        raise UserError(f"none of the {len(trials)} trials of '{warm.run}' says anything about this sweep: {_reasons(left)}.")
    told = f"warm start: {len(kept)} of {len(trials)} trials of '{warm.run}' are told to the sampler"
    return Earlier(trials=tuple(kept), left_out=dict(left), told=told + (f"; left out: {_reasons(left)}" if left else ""))


def _first(warm: WarmStart, trials: dict[int, _Trial], space: Space) -> Earlier:
    points: list[dict[str, Any]] = []
    left: Counter[str] = Counter()
    ranked: list[tuple[int, float, int, dict[str, Any]]] = []
    for number, trial in sorted(trials.items()):
        if trial.settings is None:
            left[UNKNOWN] += 1
        elif trial.failed or not trial.values:
            left[UNMEASURED] += 1
        else:
            last = max(trial.values)
            ranked.append((-last, -trial.values[last], number, trial.settings))
    for *_, settings in sorted(ranked, key=lambda r: r[:3]):
        point = _inside(space, settings)
        if not point:
            left[OUTSIDE] += 1
        elif point not in points and len(points) < warm.best:
            points.append(point)
    if not points:
        raise UserError(f"none of the {len(trials)} trials of '{warm.run}' has settings that this sweep searches: {_reasons(left)}.")
    told = f"warm start: the best {len(points)} settings of '{warm.run}' are tried first"
    return Earlier(first_points=tuple(points), left_out=dict(left), told=told)


def _inside(space: Space, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `settings` that this space has; empty when no allowed settings have it."""
    point: dict[str, Any] = {}
    for path, dimension in space.dimensions.items():
        open_ = any(parent not in settings for parent, _ in dimension.when)  # whether it exists is seen when the rest is drawn
        if path in settings and dimension.holds(settings[path]) and (open_ or space.exists(path, point)):
            point[path] = settings[path]
    return point if completed(space, point) else {}


def _reasons(left: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in left.most_common()) or "it has none"
