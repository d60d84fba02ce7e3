"""What a source holds for one part of a row, as a clean value or the reason word why it is none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

UNDECODABLE = "\udcff"
"""Stands where bytes could not be decoded; no text in any encoding holds it."""


def text_of(value: Any, part: str = "text") -> tuple[str, str | None]:
    """(text, None), or (what there is, reason word)."""
    if value is None or value != value:
        return "", f"missing_{part}"
    if not isinstance(value, str):
        return str(value)[:1000], f"{part}_not_string"
    if not value.strip():
        return value, f"empty_{part}"
    if "\0" in value:
        return value, "nul_bytes"
    return value, None if is_unicode(value) else "wrong_encoding"


def is_unicode(text: str) -> bool:
    """Whether `text` is free of halves of characters, which JSON escapes can smuggle in."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return UNDECODABLE not in text


def name_of(value: Any) -> str | None:
    """A label (or group, or slice) of any type as its name; None when there is none.

    True is "true", 3 and 3.0 are "3" (a whole-number column with gaps comes as floats), 0.5 is "0.5"; lists and
    objects are no names.
    """
    if value is None or isinstance(value, list | dict | tuple | set) or value != value:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    name = str(value).replace("\0", "").strip()
    return name if name and is_unicode(name) else None


def names_of(value: Any, separator: str = "|") -> list[str] | None:
    """Several names, from a list or from text with a separator between them; None when there is no list of names."""
    if isinstance(value, str):
        value = [part for part in value.split(separator) if part.strip()]
    if not isinstance(value, list | tuple):
        return None
    found = [name_of(each) for each in value]
    return None if None in found else [name for name in found if name is not None]


def number_of(value: Any) -> float | None:
    """A finite number, from a number or the text of one; None when it is none."""
    import math

    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


COLUMN_TYPES = {
    "text": "string", "text_pair": "string", "label": "string", "target_text": "string", "messages": "string",
    "tokens": "list", "tags": "list", "labels": "list", "target": "float", "image": "bytes", "audio": "bytes",
}  # fmt: skip
"""Columns that tasks know, and how the corpus keeps them; `messages` is JSON."""


def column_of_bytes(columns: Iterable[str]) -> str | None:
    """The column that holds the bytes of files; None where there is none."""
    found = [name for name in columns if COLUMN_TYPES.get(name) == "bytes"]
    assert len(found) <= 1, f"several columns of bytes: {found}"
    return found[0] if found else None


def arrow_type(column: str) -> Any:
    """The Arrow type of a row's column."""
    import pyarrow as pa

    kinds = {"string": pa.string(), "list": pa.list_(pa.string()), "float": pa.float64(), "bytes": pa.large_binary()}
    return kinds[COLUMN_TYPES[column]]
