"""What a person sees while a run goes on: its stages, the current one's progress, and the sweep's table of trials.

Everything is drawn from a small state (`Line`, `Board`) by pure functions, a few times a second; the finished stages stay
on the terminal as a summary. A sweep of many thousand trials costs no more to draw than one of ten.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
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
RUNNING = ("running", "started")
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


@dataclass
class Board:
    """The trials of a sweep, with what a few lines need of them kept at every change."""

    mode: str = "max"
    trials: dict[int, TrialLine] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    """Trials in each state."""
    running: dict[int, TrialLine] = field(default_factory=dict)
    leaders: list[TrialLine] = field(default_factory=list)
    """The best few, best first; ties go to the lower number."""

    def change(self, number: int, state: str, info: dict[str, Any], now: float = 0.0) -> None:
        """Trial `number` is in `state` now, and `info` is new about it."""
        line = self.trials.get(number)
        if line is None:
            line = self.trials[number] = TrialLine(number, state)
        else:
            self.counts[line.state] -= 1
            self.running.pop(number, None)
        before = line.value
        line.state, line.changed = state, now
        line.info.update(info)
        self.counts[state] += 1
        if state in RUNNING:
            self.running[number] = line
        if "mode" in info and info["mode"] != self.mode:
            self.mode = str(info["mode"])
            self._lead(self.trials.values())
        elif line.value != before:
            fell = before is not None and line in self.leaders
            self._lead(self.trials.values() if fell else [*(t for t in self.leaders if t is not line), line])

    def _lead(self, candidates: Iterable[TrialLine]) -> None:
        self.leaders = sorted((t for t in candidates if t.value is not None), key=self._rank)[:SHOWN_TRIALS]

    def _rank(self, line: TrialLine) -> tuple[float, int]:
        value = float(line.value or 0.0)
        return (value if self.mode == "min" else -value, line.number)

    @property
    def best(self) -> TrialLine | None:
        return self.leaders[0] if self.leaders else None

    def shown(self) -> list[TrialLine]:
        """The few trials worth a line: the best, what runs now, then the next best; in the order of their numbers."""
        now = sorted(self.running.values(), key=lambda t: (t.value is None, self._rank(t)))
        chosen = {t.number: t for t in [*self.leaders[:1], *now, *self.leaders]}
        if len(chosen) < SHOWN_TRIALS:
            chosen |= {n: t for n, t in list(self.trials.items())[: 2 * SHOWN_TRIALS] if n not in chosen}
        return sorted(list(chosen.values())[:SHOWN_TRIALS], key=lambda t: t.number)


class LiveProgress(Progress):
    """A live display on a terminal."""

    def __init__(self, stream: TextIO, console: Console | None = None):
        self.console = console or Console(file=stream, force_terminal=True, highlight=False)
        self.lines: dict[str, Line] = {}
        self.board = Board()
        self.messages: list[str] = []
        self.began = time.monotonic()
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
            self.board = Board()
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
            self.board.change(number, state, info, time.monotonic())

    def earlier(self, trials: Iterable[tuple[int, str, dict[str, Any]]]) -> None:
        with self._lock:
            for number, state, info in trials:
                self.board.change(number, state, info)

    def done(self, name: str, seconds: float, summary: str) -> None:
        with self._lock:
            line = self.lines.setdefault(name, Line(name, "run", "", time.monotonic()))
            line.state, line.seconds, line.text = "done", seconds, summary
            self.board = Board()

    def message(self, text: str) -> None:
        with self._lock:
            self.messages = [*self.messages, text][-SHOWN_MESSAGES:]

    def close(self) -> None:
        with self._lock:
            for line in self.lines.values():
                if line.state in ("run", "resume"):
                    line.state, line.seconds = "stopped", time.monotonic() - line.began
            self.board = Board()
        self._live.stop()

    def _draw(self) -> RenderableType:
        with self._lock:
            return draw(list(self.lines.values()), self.board, self.messages, time.monotonic(), self.console.width)


def draw(lines: list[Line], board: Board, messages: list[str], now: float, width: int) -> RenderableType:
    """The whole display: a pure function of its state."""
    parts: list[RenderableType] = []
    name_width = max((len(line.name) for line in lines), default=0)
    for line in lines:
        parts.append(_head(line, now, name_width, width))
        if line.state in ("run", "resume"):
            if line.total:
                parts.append(_bar(line, now))
            if board.trials:
                parts.append(_trial_table(board, width))
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


def _trial_table(board: Board, width: int) -> RenderableType:
    few, best = board.shown(), board.best
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    for column in ("trial", "rung", "value"):
        grid.add_column(column, no_wrap=True, justify="right")
    grid.add_column("state", no_wrap=True, min_width=8)
    grid.add_column("settings", no_wrap=True, overflow="ellipsis", max_width=max(10, width - 44))
    metric = next((str(t.info["metric"]) for t in few if isinstance(t.info.get("metric"), str)), "value")
    weighed = any(t.info.get("objectives") for t in few)
    heads = ("trial", "rung", metric, "state", "objectives, settings" if weighed else "settings")
    grid.add_row("  ", *(Text(h, "dim") for h in heads))
    for trial in few:
        is_best = trial is best
        style = "bold green" if is_best else ("" if trial.state in RUNNING else "dim")
        value = f"{trial.value:.4f}" if trial.value is not None else ""
        told = f"{told_settings(trial.info.get('objectives'))}  {told_settings(trial.info.get('settings'))}".strip()
        cells = [f"{trial.number:04d}", str(trial.info.get("rung", "")), value, trial.state, told]
        grid.add_row(" ★" if is_best else "", *(Text(c, style, no_wrap=True, overflow="ellipsis") for c in cells))
    hidden = len(board.trials) - len(few)
    counts = ", ".join(f"{n:,} {state}" for state, n in sorted(board.counts.items()) if n)
    return Group(grid, Text(f"    {counts}" + (f" ({hidden:,} not shown)" if hidden else ""), "dim", no_wrap=True))


def told_settings(settings: Any) -> str:
    """`lr=0.0002 schedule=cosine`: the last words of the paths are enough."""
    if not isinstance(settings, dict):
        return ""
    return " ".join(f"{path.rsplit('.', 1)[-1]}={_told(value)}" for path, value in settings.items())


def _told(value: Any) -> str:
    if isinstance(value, dict) and "use" in value:  # a member of a family: its name, then its options
        options = " ".join(f"{key}={_told(option)}" for key, option in value.items() if key != "use")
        return f"{value['use']}({options})" if options else str(value["use"])
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def clock(seconds: float) -> str:
    """12.3 s, 2:05, 1:02:05."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
