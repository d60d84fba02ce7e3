"""The order of label names, which is the order of a model's outputs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


def in_natural_order(names: Iterable[str]) -> list[str]:
    """Numbers by value, then names by letter, where "class 2" comes before "class 10"."""
    return sorted(names, key=_natural)


def _natural(name: str) -> tuple[Any, ...]:
    try:
        return 0, float(name), [], name
    except ValueError:
        parts = [(0, int(p), "") if p.isdecimal() else (1, 0, p.casefold()) for p in re.split(r"(\d+)", name) if p]
        return 1, 0.0, parts, name
