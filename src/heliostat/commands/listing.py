"""`heliostat list`: families, members, options; read from the code itself, so it is never out of date."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from pydantic_core import PydanticUndefined
from rich.table import Table
from rich.text import Text

from heliostat.commands.page import page
from heliostat.core.errors import UserError, unknown
from heliostat.core.family import FAMILIES, ROOT, first_line, members


def show_families(family: str | None) -> None:
    """Print every family, or one with all the options of its members."""
    if family is None:
        out = page()
        table = _table("family", "members", "what it is")
        for name in FAMILIES:
            duty = (inspect.getdoc(importlib.import_module(f"{ROOT}.{name}")) or "").split("\n", 1)[0]
            table.add_row(Text(name, "bold"), ", ".join(members(name)), duty)
        out.print(table)
        out.print(Text("\nOptions of a family's members: heliostat list FAMILY", "dim"))
        return
    _show_family(_full_name(family))


def _full_name(given: str) -> str:
    """The family a person means: its full name, or the last word of it."""
    wanted = given.replace("/", ".")
    found = [name for name in FAMILIES if wanted in (name, name.rsplit(".", 1)[-1])]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"family '{given}' may mean {' or '.join(found)}. Write one of them in full.")
    raise UserError(unknown("family", given, FAMILIES))


def _show_family(family: str) -> None:
    out = page()
    for name, kind in members(family).items():
        out.print(Text.assemble((name, "bold"), f"  {first_line(kind)}"))
        table = _table("", "option", "default", "meaning", header=False)
        for option, field in kind.model_fields.items():
            table.add_row("  ", Text(option, "cyan"), _default(field), Text(meaning(kind, option)))
        if kind.model_fields:
            out.print(table)
    one = next(iter(members(family)))
    out.print(Text(f"\nIn a config: {{use: {one}, option: value}}. From a package of yours: {{use: package.module}}.", "dim"))


def meaning(kind: Any, option: str) -> str:
    """The docstring of an option; one that a member overrides without a word means what its base says."""
    told = (base.model_fields[option].description for base in kind.__mro__ if option in getattr(base, "model_fields", {}))
    return next((text for text in told if text), "")


def _default(field: Any) -> str:
    if field.default is not PydanticUndefined:
        return "null" if field.default is None else str(field.default)
    return str(field.default_factory()) if field.default_factory else "(required)"


def _table(*columns: str, header: bool = True) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=header)
    for column in columns[:-1]:
        table.add_column(column, overflow="fold")
    table.add_column(columns[-1], overflow="fold", ratio=1)
    return table
