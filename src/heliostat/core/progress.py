"""What a run tells the person watching it. The command line draws it; tests and jobs read plain lines."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, TextIO


class Progress:
    """Receives what happens in a run. This base class is silent; every method may be called from any thread."""

    def stage(self, name: str, state: str, why: str) -> None:
        """A stage begins: `state` is kept, resume or run."""

    def update(self, name: str, done: float, total: float, unit: str, note: str = "") -> None:
        """Stage `name` has done `done` of `total` units."""

    def trial(self, number: int, state: str, info: dict[str, Any]) -> None:
        """Trial `number` changed: `info` holds rung, metric value, settings, seconds as far as they are known."""

    def earlier(self, trials: Iterable[tuple[int, str, dict[str, Any]]]) -> None:
        """What an earlier attempt at the same sweep has left: number, state and info of each of its trials."""

    def done(self, name: str, seconds: float, summary: str) -> None:
        """A stage ended."""

    def message(self, text: str) -> None:
        """A sentence for the person."""

    def close(self) -> None:
        """The run is over; leave the terminal clean."""


class PlainProgress(Progress):
    """Plain lines, for logs and pipes: at most one progress line per stage and `every_s` seconds."""

    def __init__(self, stream: TextIO | None = None, every_s: float = 10.0):
        self.stream = stream or sys.stderr
        self.every_s = every_s
        self._last: dict[str, float] = {}

    def _line(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()

    def stage(self, name: str, state: str, why: str) -> None:
        self._line(f"{name}: {state} ({why})")

    def update(self, name: str, done: float, total: float, unit: str, note: str = "") -> None:
        now = time.monotonic()
        if now - self._last.get(name, 0.0) >= self.every_s:
            self._last[name] = now
            self._line(f"{name}: {done:g}/{total:g} {unit} {note}".rstrip())

    def trial(self, number: int, state: str, info: dict[str, Any]) -> None:
        if state == "running" and "rung" not in info:
            return
        shown: dict[str, Any] = {k: info[k] for k in ("rung", "step", "until", "loss", "seconds") if k in info}
        shown |= {str(info.get("metric", "value")): info["value"]} if "value" in info else {}
        told = " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in {**shown, **info.get("objectives", {})}.items())
        self._line(f"trial {number:04d}: {state} {told}".rstrip())

    def earlier(self, trials: Iterable[tuple[int, str, dict[str, Any]]]) -> None:
        states = Counter(state for _, state, _ in trials)
        if states:
            self._line("trials from before: " + ", ".join(f"{count:,} {state}" for state, count in sorted(states.items())))

    def done(self, name: str, seconds: float, summary: str) -> None:
        self._line(f"{name}: done in {seconds:.1f} s. {summary}".rstrip())

    def message(self, text: str) -> None:
        self._line(text)
