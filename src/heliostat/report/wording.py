"""How values are written on the page: numbers, sizes, times and text from data.

Everything that comes from data goes through `esc` before it is markup.
"""

from __future__ import annotations

import html
import json
import re
from typing import Any

ABSENT = "–"
MINUS = "\u2212"
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def esc(value: Any) -> str:
    """`value` as text that is safe in HTML, in SVG and inside a quoted attribute."""
    return html.escape(UNPRINTABLE.sub("\ufffd", str(value)), quote=True)


def score(value: float | None) -> str:
    """A metric's value: three decimals, fewer for large numbers."""
    if value is None or value != value:
        return ABSENT
    digits = 3 if abs(value) < 100 else 1
    return f"{value:.{digits}f}".replace("-", MINUS)


def change(value: float | None) -> str:
    """A difference with its sign."""
    if value is None or value != value:
        return ABSENT
    text = f"{value:.3f}"
    return "±0.000" if float(text) == 0 else f"{value:+.3f}".replace("-", MINUS)


def percent(share: float | None) -> str:
    """A share as a percentage, with a decimal where rounding would hide the difference."""
    if share is None or share != share:
        return ABSENT
    value = 100 * share
    near = value < 10 or 90 < value < 110
    return f"{value:.1f} %" if near and abs(value - round(value)) >= 0.05 else f"{value:.0f} %"


def size(count: float) -> str:
    """Bytes in decimal units."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= step:
            return f"{count / step:.3g} {unit}" if count < 999.5 * step else f"{count / step:,.0f} {unit}"
    return f"{count:.0f} B"


def millions(count: float) -> str:
    """Parameters, in millions."""
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,.0f}"


def millis(value: float | None) -> str:
    """Milliseconds with three significant digits."""
    if value is None or value != value:
        return ABSENT
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def seconds(value: float) -> str:
    """A duration a person reads at a glance."""
    if value < 60:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    if value < 3600:
        return f"{int(value // 60)} min {int(value % 60):02d} s"
    return f"{int(value // 3600)} h {int(value % 3600 // 60):02d} min"


def p_value(p: float) -> str:
    """A probability, never written as zero."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def setting(value: Any) -> str:
    """One tried value, short: 3e-05, adamw, or its JSON."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        short = f"{value:.3g}" if value == 0 or abs(value) >= 1e-3 else re.sub(r"\.?0*e", "e", f"{value:.2e}")
        return re.sub(r"e([+-])0", r"e\1", short).replace("e+", "e").replace("-", MINUS)
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, dict) and "use" in value:
        rest = {k: v for k, v in value.items() if k != "use"}
        return str(value["use"]) + (f" {json.dumps(rest, ensure_ascii=False)}" if rest else "")
    return json.dumps(value, ensure_ascii=False, default=str)


def bound(text: str) -> str:
    """`text` with its numbers held to their units when a line breaks."""
    return re.sub(r"(?<=\d) (?=(?:%|ms|s|min|h|kB|MB|GB|B|M|rows?|trials?)(?!\w))|(?<=p [=<]) |(?<=p) (?=[=<] \d)", "\u00a0", text)


def words(name: str) -> str:
    """`exact_duplicate` as people say it."""
    return name.replace("_", " ")


def excerpt(text: str, limit: int = 300) -> str:
    """The first `limit` characters on one line, with a mark when something was cut."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def plural(count: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def listed(items: list[str]) -> str:
    """a, b and c."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
