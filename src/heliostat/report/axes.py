"""Scales, ticks and the room a text takes: the arithmetic under the charts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

FONT = 11.5


@dataclass(frozen=True)
class Axis:
    """One axis of a chart."""

    label: str
    tell: Callable[[float], str] = lambda v: f"{v:g}"
    """Writes a tick."""
    log: bool = False
    names: tuple[str, ...] = ()
    """With names, the values 0, 1, 2 ... are categories."""


@dataclass(frozen=True)
class Scale:
    """Maps values in [low, high] to pixels between `start` and `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, v = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, v = math.log10(low), math.log10(high), math.log10(v)
        return self.start + (v - low) / (high - low) * (self.end - self.start)


def span(values: Sequence[float], *, log: bool = False, pad: float = 0.08) -> tuple[float, float]:
    """The range that holds `values` with some air around them."""
    low, high = min(values), max(values)
    if log:
        if low == high:
            return low / 2, high * 2
        air = (high / low) ** pad
        return low / air, high * air
    air = (high - low) * pad or abs(high) * 0.05 or 1.0
    return low - air, high + air


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers in [low, high]."""
    if not high > low:
        return [low]
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten in [low, high]; 1, 2 and 5 times them when there are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    tens = [10.0**p for p in powers if low <= 10.0**p <= high]
    if len(tens) >= 3:
        return tens
    fine = [m * 10.0**p for p in powers for m in (1, 2, 5)]
    return [t for t in fine if low <= t <= high] or [low, high]


def width(text: str, font: float = FONT) -> float:
    """Pixels that `text` takes, near enough: wide scripts take a full em."""
    return sum(font * (1.0 if ord(c) > 0x2E7F else 0.56) for c in text)


def fit(text: str, room: float, font: float = FONT) -> str:
    """`text`, cut with an ellipsis to the pixels there are."""
    if width(text, font) <= room:
        return text
    out = ""
    for c in text:
        if width(out + c + "…", font) > room:
            break
        out += c
    return out + "…"


Box = tuple[float, float, float, float]


def overlaps(a: Box, b: Box) -> bool:
    """Whether two boxes (left, top, right, bottom) share any area."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def place_label(text: str, at: tuple[float, float], gap: float, frame: Box, taken: list[Box]) -> tuple[float, float, str]:
    """Where a label goes: (x, y, text-anchor), right, left, above or below its point, where it covers least; marks `taken`."""
    x, y = at
    w = width(text)
    options = [
        (x + gap, y + 4, "start"),
        (x - gap, y + 4, "end"),
        (x, y - gap - 2, "middle"),
        (x, y + gap + 10, "middle"),
        (x + gap * 0.7, y - gap * 0.7 - 2, "start"),
        (x + gap * 0.7, y + gap * 0.7 + 10, "start"),
        (x - gap * 0.7, y - gap * 0.7 - 2, "end"),
        (x - gap * 0.7, y + gap * 0.7 + 10, "end"),
    ]

    def box(option: tuple[float, float, str]) -> Box:
        left = {"start": option[0], "end": option[0] - w, "middle": option[0] - w / 2}[option[2]]
        return (left, option[1] - 10, left + w, option[1] + 3)

    def cost(option: tuple[float, float, str]) -> float:
        left, top, right, bottom = box(option)
        outside = max(0, frame[0] - left) + max(0, right - frame[2]) + max(0, frame[1] - top) + max(0, bottom - frame[3])
        return 10 * outside + 100 * sum(overlaps(box(option), other) for other in taken)

    best = min(options, key=cost)
    taken.append(box(best))
    return best
