"""Charts as SVG text: pure functions from values to markup, with no library and no network.

Colours are CSS values (`var(--ship)`), so that one chart serves light and dark. Every chart carries a title for people who
do not see it, every mark a tip. A chart is 380 units wide, so that its text stays readable on a phone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heliostat.report.axes import Axis, Box, Scale, fit, log_ticks, place_label, span, ticks, width
from heliostat.report.wording import esc

WIDTH = 380.0
ROW = 27.0


@dataclass(frozen=True)
class Dot:
    """A value with its interval, one row of `intervals`."""

    label: str
    value: float
    low: float
    high: float
    colour: str
    told: str
    """The value as it is written at the end of the row."""


@dataclass(frozen=True)
class Point:
    """One mark of `scatter`; `label` is written beside it when it is not empty."""

    label: str
    x: float
    y: float
    colour: str
    tip: str
    radius: float = 5.0
    x_low: float | None = None
    x_high: float | None = None
    y_low: float | None = None
    y_high: float | None = None


@dataclass(frozen=True)
class Line:
    """One series of `lines`; `label` is written at its end when it is not empty."""

    label: str
    points: tuple[tuple[float, float], ...]
    colour: str
    tip: str
    strong: bool = False


@dataclass(frozen=True)
class Bar:
    """One row of `bars`; each part is (value, colour, tip) and they are laid end to end."""

    label: str
    parts: tuple[tuple[float, str, str], ...]
    told: str


def svg(title: str, height: float, body: Sequence[str]) -> str:
    """The drawing, with its title as the accessible name."""
    name = esc(title)
    inside = "".join(body)
    return f'<svg class="chart" viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" aria-label="{name}"><title>{name}</title>{inside}</svg>'


def text(x: float, y: float, value: str, *, kind: str = "", anchor: str = "start", colour: str = "") -> str:
    """One line of text."""
    style = f' style="fill:{colour}"' if colour else ""
    css = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{css}{style}>{esc(value)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, *, kind: str = "rule", colour: str = "") -> str:
    """One straight line."""
    style = f' style="stroke:{colour}"' if colour else ""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{style}/>'


def circle(x: float, y: float, radius: float, *, colour: str, tip: str, kind: str = "dot") -> str:
    """One dot with a tip."""
    return (
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" style="fill:{colour}" data-tip="{esc(tip)}">'
        f"<title>{esc(tip)}</title></circle>"
    )


def intervals(dots: Sequence[Dot], *, title: str, tell: Callable[[float], str], reference: float | None = None) -> str:
    """One row per model: a dot on its 95 % interval, the value at the end; a dashed line marks `reference`."""
    gutter = min(132.0, max(width(d.label) for d in dots) + 12)
    room = max(width(d.told) for d in dots) + 10
    values = [v for d in dots for v in (d.low, d.high, d.value)] + ([reference] if reference is not None else [])
    scale = Scale(*span(values, pad=0.05), gutter + 4, WIDTH - room - 4)
    bottom = ROW * len(dots) + 6
    body = _grid_x(scale, 4.0, bottom, tell)
    if reference is not None:
        body.append(line(scale(reference), 2, scale(reference), bottom, kind="reference"))
    for i, d in enumerate(dots):
        y = ROW * i + ROW / 2 + 4
        body.append(text(gutter - 4, y + 4, fit(d.label, gutter - 4), anchor="end", kind="name"))
        body.append(line(scale(d.low), y, scale(d.high), y, kind="whisker", colour=d.colour))
        body.append(circle(scale(d.value), y, 5, colour=d.colour, tip=f"{d.label}: {tell(d.value)} ({tell(d.low)} to {tell(d.high)})"))
        body.append(text(WIDTH, y + 4, d.told, anchor="end", kind="value"))
    return svg(title, bottom + 20, body)


def scatter(
    points: Sequence[Point], *, x: Axis, y: Axis, title: str, height: float = 280.0, joined: Sequence[tuple[float, float]] = ()
) -> str:
    """Marks over two axes, with error bars where the points have them, labelled directly; a line runs through the `joined` places."""
    frame: Box = (46.0, 26.0, WIDTH - 12, height - 40)
    xs = [v for p in points for v in (p.x, p.x_low, p.x_high) if v is not None]
    ys = [v for p in points for v in (p.y, p.y_low, p.y_high) if v is not None]
    across = _across(x, xs, frame)
    up = Scale(*span(ys, pad=0.1), frame[3], frame[1])
    body = _axes(across, up, x, y, frame)
    if len(joined) > 1:
        way = " ".join(f"{across(a):.1f},{up(b):.1f}" for a, b in joined)
        body.append(f'<polyline class="curve joined" points="{way}"/>')
    taken: list[Box] = []
    for p in points:
        r = p.radius
        taken.append((across(p.x) - r, up(p.y) - r, across(p.x) + r, up(p.y) + r))
    for p in sorted(points, key=lambda p: -p.radius):
        if p.x_low is not None and p.x_high is not None:
            body.append(line(across(p.x_low), up(p.y), across(p.x_high), up(p.y), kind="whisker thin", colour=p.colour))
        if p.y_low is not None and p.y_high is not None:
            body.append(line(across(p.x), up(p.y_low), across(p.x), up(p.y_high), kind="whisker thin", colour=p.colour))
        body.append(circle(across(p.x), up(p.y), p.radius, colour=p.colour, tip=p.tip, kind="dot bubble" if p.radius > 6 else "dot"))
    for p in points:
        if p.label:
            label = fit(p.label, 130.0)
            lx, ly, anchor = place_label(label, (across(p.x), up(p.y)), p.radius + 4, (0, 0, WIDTH, frame[3]), taken)
            body.append(text(lx, ly, label, anchor=anchor, kind="name halo"))
    return svg(title, height, body)


def lines(
    series: Sequence[Line],
    *,
    x: Axis,
    y: Axis,
    title: str,
    height: float = 280.0,
    marks: Sequence[tuple[float, str]] = (),
    within: tuple[float, float] | None = None,
) -> str:
    """Curves over two axes; the strong ones lie on top and carry their label at the end.

    `marks` are places on the x axis with a dashed line and a word at its top. What lies outside `within`, the y axis when
    it is given, is drawn at its edge.
    """
    room = max((width(s.label) for s in series if s.label), default=0.0) + 10
    frame: Box = (46.0, 26.0, WIDTH - max(12.0, room), height - 40)
    all_points = [p for s in series for p in s.points]
    across = Scale(0.0, max([p[0] for p in all_points] + [m[0] for m in marks]) or 1.0, frame[0], frame[2])
    up = Scale(*span(within or [p[1] for p in all_points], pad=0.06), frame[3], frame[1])
    body = _axes(across, up, x, y, frame)
    for at, word in marks:
        body.append(line(across(at), frame[1] - 2, across(at), frame[3], kind="reference"))
        body.append(text(across(at), frame[1] - 6, word, anchor="end" if at == marks[-1][0] else "middle", kind="tick"))
    taken: list[float] = []
    names: list[str] = []
    for s in sorted(series, key=lambda s: s.strong):
        kind = "curve strong" if s.strong else "curve many" if len(series) > 30 else "curve"
        places = [(across(a), up(b)) for a, b in s.points]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        tip = esc(s.tip)
        if len(places) > 1:
            drawn = f'class="{kind}" points="{path}" style="stroke:{s.colour}" data-tip="{tip}"'
            body.append(f"<polyline {drawn}><title>{tip}</title></polyline>")
        for a, b in places if len(places) == 1 or (s.strong and len(places) <= 20) else []:
            body.append(circle(a, b, 3 if s.strong or len(series) <= 30 else 1.8, colour=s.colour, tip=s.tip))
        if s.label:
            y_at = _free(places[-1][1] + 4, taken)
            names.append(text(places[-1][0] + 7, y_at, s.label, kind="name halo", colour=s.colour if s.strong else ""))
    return svg(title, height, body + names)


def bars(rows: Sequence[Bar], *, title: str, gutter: float = 0.0) -> str:
    """Horizontal bars from a common zero, each with its value at the end; the names take at least `gutter`."""
    gutter = max(gutter, min(140.0, max(width(r.label) for r in rows) + 12))
    room = max(width(r.told) for r in rows) + 10
    top = max(sum(p[0] for p in r.parts) for r in rows) or 1.0
    scale = Scale(0.0, top, gutter, WIDTH - room)
    body: list[str] = []
    for i, row in enumerate(rows):
        y = 24.0 * i + 4
        body.append(text(gutter - 8, y + 12, fit(row.label, gutter - 10), anchor="end", kind="name"))
        at = 0.0
        for value, colour, tip in row.parts:
            wide = max(scale(at + value) - scale(at) - (0.8 if len(row.parts) > 1 else 0), 0.8)
            place = f'x="{scale(at):.1f}" y="{y:.1f}" width="{wide:.1f}" height="16"'
            body.append(f'<rect class="bar" {place} style="fill:{colour}" data-tip="{esc(tip)}"><title>{esc(tip)}</title></rect>')
            at += value
        body.append(text(scale(at) + 6, y + 12, row.told, kind="value"))
    return svg(title, 24.0 * len(rows) + 4, body)


def _across(x: Axis, xs: Sequence[float], frame: Box) -> Scale:
    if x.names:
        return Scale(-0.5, len(x.names) - 0.5, frame[0], frame[2])
    return Scale(*span(xs, log=x.log, pad=0.1), frame[0], frame[2], log=x.log)


def _axes(across: Scale, up: Scale, x: Axis, y: Axis, frame: Box) -> list[str]:
    """Light rules with their values, and the axis labels."""
    left, _, right, bottom = frame
    body = []
    for t in ticks(up.low, up.high, 5):
        body.append(line(left, up(t), right, up(t)))
        body.append(text(left - 6, up(t) + 4, y.tell(t), anchor="end", kind="tick"))
    if x.names:
        room = (right - left) / len(x.names) - 4
        marks = [(float(i), fit(name, room)) for i, name in enumerate(x.names)]
    else:
        found = log_ticks(across.low, across.high) if across.log else ticks(across.low, across.high, 5)
        marks = [(t, x.tell(t)) for t in found]
    for at, name in marks:
        body.append(line(across(at), bottom, across(at), bottom + 4))
        body.append(text(across(at), bottom + 16, name, anchor="middle", kind="tick"))
    body.append(text((left + right) / 2, bottom + 34, x.label, anchor="middle", kind="axis"))
    body.append(text(0, 11, y.label, kind="axis"))
    return body


def _grid_x(scale: Scale, top: float, bottom: float, tell: Callable[[float], str]) -> list[str]:
    body = []
    for t in ticks(scale.low, scale.high, 4):
        body.append(line(scale(t), top, scale(t), bottom))
        body.append(text(scale(t), bottom + 14, tell(t), anchor="middle", kind="tick"))
    return body


def _free(y: float, taken: list[float], step: float = 12.0) -> float:
    """The place nearest to `y` that is `step` away from every label already there."""
    offsets = [0.0] + [sign * k * step / 2 for k in range(1, 40) for sign in (-1, 1)]
    place = next(y + o for o in offsets if all(abs(y + o - t) >= step for t in taken))
    taken.append(place)
    return place
