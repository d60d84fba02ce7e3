"""What several sections ask of a sweep: who won, in which order, what a setting is called and where it lies on an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from heliostat.artifacts import Sweep, Trial
from heliostat.report.axes import Axis
from heliostat.report.evidence import Evidence
from heliostat.report.wording import setting

STATES = {"completed": "var(--m1)", "stopped": "var(--faint)", "failed": "var(--bad)"}
WINNER = "var(--ship)"


def ranked(sweep: Sweep) -> list[Trial]:
    """Trials that gave a number and did not fail, best first, as the sweep ranked them; ties go to the lower number."""
    sign = 1.0 if sweep.mode == "max" else -1.0
    able = [(t.value if t.value is not None else sign * t.best, t) for t in sweep.trials if t.best is not None and t.state != "failed"]
    return [t for _, t in sorted(able, key=lambda item: (-item[0], item[1].number))]


def winner(sweep: Sweep) -> Trial | None:
    """The trial that won: the confirmed one, else the first finalist, else the best ranked."""
    if sweep.confirmation and sweep.confirmation.finalists:
        number = sweep.confirmation.finalists[0].trial
        return next((t for t in sweep.trials if t.number == number), None)
    names = [m.name for m in sweep.finalists[:1]]
    return next((t for t in sweep.trials if f"trial-{t.number:04d}" in names), None) or next(iter(ranked(sweep)), None)


def sample(trials: Sequence[Trial], most: int) -> list[Trial]:
    """At most `most` of the ranked `trials`: the best fifth of that, and evenly spaced ones of the rest."""
    if len(trials) <= most:
        return list(trials)
    head = most // 5
    rest, room = trials[head:], most - head
    return [*trials[:head], *(rest[round(i * (len(rest) - 1) / (room - 1))] for i in range(room))]


def varied(sweep: Sweep) -> list[str]:
    """Searched paths that were not the same in every trial, the most important first."""
    paths = list(dict.fromkeys(path for t in sweep.trials for path in t.settings))
    tried = {path: {setting(t.settings[path]) if path in t.settings else None for t in sweep.trials} for path in paths}
    return sorted((p for p in paths if len(tried[p]) > 1), key=lambda p: -sweep.importance.get(p, 0.0))


def tail(path: str, paths: Sequence[str]) -> str:
    """The end of a dotted path, as long as needed to tell it from the others."""
    parts = path.split(".")
    for n in range(1, len(parts)):
        end = ".".join(parts[-n:])
        if sum(p == end or p.endswith("." + end) for p in paths) == 1:
            return end
    return path


@dataclass(frozen=True)
class Ruler:
    """The axis of a setting, and where a value lies on it: numbers by size, anything else as categories."""

    axis: Axis

    def place(self, value: Any) -> float:
        return float(self.axis.names.index(setting(value))) if self.axis.names else float(value)


def ruler(path: str, evidence: Evidence) -> Ruler:
    """For the values that were tried at `path`; logarithmic when the config says so, or else when they look it."""
    values = [t.settings[path] for t in evidence.sweep.trials if path in t.settings] if evidence.sweep else []
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        kind = _kind(path, evidence)
        log = kind.startswith("log") if kind else is_logarithmic([float(v) for v in values])
        log = log and min(values) > 0
        return Ruler(Axis(path + (" (log scale)" if log else ""), setting, log))
    return Ruler(Axis(path, names=tuple(sorted({setting(v) for v in values}))))


def _kind(path: str, evidence: Evidence) -> str:
    """uniform, log_int, choice ...: the distribution in the config; "" when the config is not at hand."""
    tune = (evidence.run.get("config") or {}).get("tune") or {}
    spec = (tune.get("space") or {}).get(path)
    found = [key for key in spec if key in ("uniform", "log_uniform", "int", "log_int")] if isinstance(spec, dict) else []
    return found[0] if found else ""


def is_logarithmic(values: Sequence[float]) -> bool:
    """Whether numbers look drawn on a log scale: they span much, and half of them are crowded at the low end."""
    low, high, middle = min(values), max(values), sorted(values)[(len(values) - 1) // 2]
    return low > 0 and high / low >= 8 and middle < low + 0.3 * (high - low)


def readable(values: Sequence[float], *, mode: str, many: bool) -> tuple[float, float]:
    """The range of an axis: all of `values`, or, when they are `many`, without the worst tenth that would press the others flat."""
    ordered = sorted(values)
    cut = len(ordered) // 10 if many else 0
    low, high = ordered[cut if mode == "max" else 0], ordered[-1 if mode == "max" or not cut else -1 - cut]
    spread = high - low
    if mode == "max":
        return (ordered[0] if ordered[0] >= low - spread else low), high
    return low, (ordered[-1] if ordered[-1] <= high + spread else high)


def short(value: float) -> str:
    """A tick without needless zeros."""
    return f"{value:.3g}"
