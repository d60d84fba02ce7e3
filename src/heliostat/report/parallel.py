"""Parallel coordinates as SVG text: one row for each setting, the metric at the foot, one curve for each trial.

The axes lie one below the other, so that their names and values stay readable on a phone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heliostat.report.axes import Axis, Scale, fit, log_ticks, span, ticks, width
from heliostat.report.charts import circle, line, svg, text
from heliostat.report.wording import esc

ROW = 62.0
TOP = 30.0
LEFT, RIGHT = 14.0, 366.0
ASIDE = 62.0
"""Room at the right for what is not there."""


@dataclass(frozen=True)
class Row:
    """One axis: what `ends` it spans, and the word for curves that have no value on it."""

    axis: Axis
    ends: tuple[float, float]
    absent: str = "not there"
    marks: tuple[float, ...] = ()
    """Places of the ticks; round numbers when there are none."""


@dataclass(frozen=True)
class Thread:
    """One trial: its place on each row, None where it has none."""

    places: tuple[float | None, ...]
    colour: str
    tip: str
    kind: str = ""
    """strong lies on top; faint is hardly seen."""


def parallel(rows: Sequence[Row], threads: Sequence[Thread], *, title: str) -> str:
    """The drawing; threads later in the list lie on top."""
    missing = [any(thread.places[i] is None for thread in threads) for i in range(len(rows))]
    scales = [_scale(row, gone) for row, gone in zip(rows, missing, strict=True)]
    heights = [TOP + ROW * i for i in range(len(rows))]
    body: list[str] = []
    for thread in sorted(threads, key=lambda t: t.kind == "strong"):
        body.append(_thread(thread, scales, heights))
        if thread.kind == "strong":
            for place, scale, y in zip(thread.places, scales, heights, strict=True):
                body.append(circle(_x(place, scale), y, 3.5, colour=thread.colour, tip=thread.tip))
    for row, scale, y, gone in zip(rows, scales, heights, missing, strict=True):
        body += _axis(row, scale, y, gone)
    return svg(title, heights[-1] + 26, body)


def _scale(row: Row, gone: bool) -> Callable[[float], float]:
    right = RIGHT - (ASIDE if gone else 0)
    if row.axis.names:
        return Scale(-0.5, len(row.axis.names) - 0.5, LEFT, right)
    low, high = row.ends if row.ends[0] < row.ends[1] else span(row.ends, log=row.axis.log)
    return Scale(low, high, LEFT, right, row.axis.log)


def _x(place: float | None, scale: Callable[[float], float]) -> float:
    return RIGHT - ASIDE / 2 + 6 if place is None else scale(place)


def _thread(thread: Thread, scales: Sequence[Callable[[float], float]], heights: Sequence[float]) -> str:
    """A curve that stands upright on every axis, so that it can be followed."""
    xs = [_x(place, scale) for place, scale in zip(thread.places, scales, strict=True)]
    way = [f"M{xs[0]:.1f} {heights[0]:.0f}"]
    for i in range(1, len(xs)):
        y1, middle = heights[i], (heights[i - 1] + heights[i]) / 2
        way.append(f"C{xs[i - 1]:.1f} {middle:.0f} {xs[i]:.1f} {middle:.0f} {xs[i]:.1f} {y1:.0f}")
    tip = esc(thread.tip)
    css = f"thread {thread.kind}".strip()
    return f'<path class="{css}" d="{"".join(way)}" style="stroke:{thread.colour}" data-tip="{tip}"><title>{tip}</title></path>'


def _axis(row: Row, scale: Callable[[float], float], y: float, gone: bool) -> list[str]:
    right = RIGHT - (ASIDE if gone else 0)
    body = [line(LEFT, y, right, y, kind="spine"), text(LEFT, y - 9, fit(row.axis.label, right - LEFT), kind="name halo")]
    for at, word in _ticks(row, right):
        x = scale(at)
        anchor = "start" if x < LEFT + 12 else "end" if x > right - 12 and not row.axis.names else "middle"
        body.append(line(x, y - 3, x, y + 3, kind="spine"))
        body.append(text(x - (4 if anchor == "start" else 0), y + 15, word, anchor=anchor, kind="tick halo"))
    if gone:
        body.append(line(RIGHT - ASIDE / 2 - 4, y, RIGHT - ASIDE / 2 + 16, y, kind="spine"))
        body.append(text(RIGHT + 6, y + 15, row.absent, anchor="end", kind="tick halo"))
    return body


def _ticks(row: Row, right: float) -> list[tuple[float, str]]:
    axis = row.axis
    if axis.names:
        room = (right - LEFT) / len(axis.names) - 4
        return [(float(i), fit(name, room)) for i, name in enumerate(axis.names)] if room > width("ab…") else []
    low, high = row.ends
    if row.marks:
        return [(t, axis.tell(t)) for t in row.marks]
    if not low < high:
        return [(low, axis.tell(low))]
    return [(t, axis.tell(t)) for t in (log_ticks(low, high) if axis.log else ticks(low, high, 5))]
