"""What a person sees while a run goes on: its stages, the current one's progress, and the sweep's table of trials.

Everything is drawn from a small state (`Line`, `TrialLine`) by pure functions, a few times a second; the finished
stages stay on the terminal as a summary.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from heliostat.core.progress import Progress

REFRESH_PER_S = 4
SHOWN_TRIALS = 6
SHOWN_MESSAGES = 3
BAR_WIDTH = 22
MARKS = {"kept": ("·", "dim"), "run": ("▸", "bold cyan"), "resume": ("▸", "bold cyan"), "done": ("✓", "green"), "stopped": ("■", "yellow")}


@dataclass
class Line:
    """One stage as it is drawn."""

    name: str
    state: str
    text: str
    began: float
    seconds: float | None = None
    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    note: str = ""
    first: tuple[float, float] | None = None
    """(time, done) of the first update of this process: the base of the rate."""

    def rate(self, now: float) -> float | None:
        """Units per second since the first update."""
        if self.first is None or now - self.first[0] < 1.0 or self.done <= self.first[1]:
            return None
        return (self.done - self.first[1]) / (now - self.first[0])

    def left(self, now: float) -> float | None:
        """Seconds to go at that rate."""
        rate = self.rate(now)
        return (self.total - self.done) / rate if rate and self.total else None


@dataclass
class TrialLine:
    """One trial as it is drawn."""

    number: int
    state: str
    info: dict[str, Any] = field(default_factory=dict)
    changed: float = 0.0

    @property
    def value(self) -> float | None:
        value = self.info.get("best", self.info.get("value"))
        return value if isinstance(value, float | int) and value == value else None


class LiveProgress(Progress):
    """A live display on a terminal."""

    def __init__(self, stream: TextIO, console: Console | None = None):
        self.console = console or Console(file=stream, force_terminal=True, highlight=False)
        self.lines: dict[str, Line] = {}
        self.trials: dict[int, TrialLine] = {}
        self.messages: list[str] = []
        self.began = time.monotonic()
        self.mode = "max"
        self._lock = threading.RLock()
        self._live = Live(
            console=self.console,
            get_renderable=self._draw,
            refresh_per_second=REFRESH_PER_S,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="ellipsis",
        )
        self._live.start()

    def stage(self, name: str, state: str, why: str) -> None:
        with self._lock:
            self.trials = {}
            self.lines[name] = Line(name, state, why, time.monotonic())

    def update(self, name: str, done: float, total: float, unit: str, note: str = "") -> None:
        now = time.monotonic()
        with self._lock:
            line = self.lines.setdefault(name, Line(name, "run", "", now))
            if line.unit != unit or done < line.done:
                line.first = None
            line.done, line.total, line.unit, line.note = done, total, unit, note
            line.first = line.first or (now, done)

    def trial(self, number: int, state: str, info: dict[str, Any]) -> None:
        with self._lock:
            line = self.trials.setdefault(number, TrialLine(number, state))
            line.state, line.changed = state, time.monotonic()
            line.info.update(info)
            self.mode = str(info.get("mode", self.mode))

    def done(self, name: str, seconds: float, summary: str) -> None:
        with self._lock:
            line = self.lines.setdefault(name, Line(name, "run", "", time.monotonic()))
            line.state, line.seconds, line.text = "done", seconds, summary
            self.trials = {}

    def message(self, text: str) -> None:
        with self._lock:
            self.messages = [*self.messages, text][-SHOWN_MESSAGES:]

    def close(self) -> None:
        with self._lock:
            for line in self.lines.values():
                if line.state in ("run", "resume"):
                    line.state, line.seconds = "stopped", time.monotonic() - line.began
            self.trials = {}
        self._live.stop()

    def _draw(self) -> RenderableType:
        with self._lock:
            lines, trials = list(self.lines.values()), list(self.trials.values())
            return draw(lines, trials, self.messages, time.monotonic(), self.mode, self.console.width)


def draw(lines: list[Line], trials: list[TrialLine], messages: list[str], now: float, mode: str, width: int) -> RenderableType:
    """The whole display: a pure function of its state."""
    parts: list[RenderableType] = []
    name_width = max((len(line.name) for line in lines), default=0)
    for line in lines:
        parts.append(_head(line, now, name_width, width))
        if line.state in ("run", "resume"):
            if line.total:
                parts.append(_bar(line, now))
            if trials:
                parts.append(_trial_table(trials, mode, width))
    parts += [Text(f"  {message}", style="yellow", no_wrap=True, overflow="ellipsis") for message in messages]
    return Group(*parts)


def _head(line: Line, now: float, name_width: int, width: int) -> Text:
    mark, style = MARKS.get(line.state, ("▸", ""))
    seconds = clock(line.seconds if line.seconds is not None else now - line.began) if line.state != "kept" else "kept"
    told = {"run": line.note, "resume": f"resumed; {line.note}", "stopped": "stopped"}.get(line.state, line.text)
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{mark} ", style)
    text.append(f"{line.name:<{name_width}}", "dim" if line.state == "kept" else "bold")
    text.append(f"  {seconds:>7}", "dim")
    text.append(f"  {told}", "dim" if line.state == "kept" else "")
    text.truncate(width, overflow="ellipsis")
    return text


def _bar(line: Line, now: float) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    rate, left = line.rate(now), line.left(now)
    facts = [f"{line.done:,.0f}/{line.total:,.0f} {line.unit}"]
    facts += [f"{rate:,.1f} {line.unit}/s" if rate >= 0.1 else f"{1 / rate:,.0f} s each"] if rate else []
    facts += [f"{clock(left)} left"] if left is not None else []
    bar = ProgressBar(total=line.total, completed=min(line.done, line.total), width=BAR_WIDTH)
    grid.add_row("   ", bar, Text("  ".join(facts), no_wrap=True, overflow="ellipsis"))
    return grid


def _trial_table(trials: list[TrialLine], mode: str, width: int) -> RenderableType:
    best = best_of(trials, mode)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    for column in ("trial", "rung", "value"):
        grid.add_column(column, no_wrap=True, justify="right")
    grid.add_column("state", no_wrap=True, min_width=8)
    grid.add_column("settings", no_wrap=True, overflow="ellipsis", max_width=max(10, width - 44))
    metric = next((str(t.info["metric"]) for t in trials if isinstance(t.info.get("metric"), str)), "value")
    grid.add_row("  ", *(Text(h, "dim") for h in ("trial", "rung", metric, "state", "settings")))
    for trial in shown(trials, mode):
        is_best = trial is best
        style = "bold green" if is_best else ("" if trial.state in ("running", "started") else "dim")
        value = f"{trial.value:.4f}" if trial.value is not None else ""
        cells = [f"{trial.number:04d}", str(trial.info.get("rung", "")), value, trial.state, told_settings(trial.info.get("settings"))]
        grid.add_row(" ★" if is_best else "", *(Text(c, style, no_wrap=True, overflow="ellipsis") for c in cells))
    hidden = len(trials) - min(len(trials), SHOWN_TRIALS)
    counts = ", ".join(f"{sum(t.state == s for t in trials)} {s}" for s in sorted({t.state for t in trials}))
    return Group(grid, Text(f"    {counts}" + (f" ({hidden} not shown)" if hidden else ""), "dim", no_wrap=True))


def best_of(trials: list[TrialLine], mode: str) -> TrialLine | None:
    """The trial with the best value; ties go to the lower number."""
    scored = [t for t in trials if t.value is not None]
    sign = 1 if mode == "min" else -1
    return min(scored, key=lambda t: (sign * float(t.value or 0.0), t.number), default=None)


def shown(trials: list[TrialLine], mode: str) -> list[TrialLine]:
    """The few trials worth a line: what runs now, then the best; in the order of their numbers."""
    sign = 1 if mode == "min" else -1

    def rank(t: TrialLine) -> tuple[bool, bool, float, int]:
        return (t.state not in ("running", "started"), t.value is None, sign * float(t.value or 0.0), t.number)

    best = best_of(trials, mode)
    chosen = sorted(trials, key=rank)[:SHOWN_TRIALS]
    if best is not None and best not in chosen:
        chosen[-1] = best
    return sorted(chosen, key=lambda t: t.number)


def told_settings(settings: Any) -> str:
    """`lr=0.0002 warmup=0.1`: the last words of the paths are enough."""
    if not isinstance(settings, dict):
        return ""
    words = {path.rsplit(".", 1)[-1]: value for path, value in settings.items()}
    return " ".join(f"{word}={value:.3g}" if isinstance(value, float) else f"{word}={value}" for word, value in words.items())


def clock(seconds: float) -> str:
    """12.3 s, 2:05, 1:02:05."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
