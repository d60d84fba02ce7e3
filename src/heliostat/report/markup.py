"""Pieces of HTML that several sections use: tables, figures, tiles, the mark of a model. Text is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heliostat.report.wording import bound, esc


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    title: str
    numeric: bool = True
    group: str = ""
    """A heading that neighbouring columns share."""


@dataclass(frozen=True)
class Cell:
    """One cell: markup, what it sorts by, and a smaller second line."""

    html: str
    sort: float | str | None = None
    note: str = ""


def plain(value: str, sort: float | str | None = None, note: str = "") -> Cell:
    """A cell of text."""
    return Cell(esc(value), value if sort is None else sort, esc(note))


def model_mark(name: str, colour: str) -> str:
    """A model's name with its colour."""
    return f'<span class="model"><i style="background:{colour}"></i>{esc(name)}</span>'


def figure(chart: str, caption: str) -> str:
    """A chart with the sentence that says what to see; the caption is text."""
    return f"<figure><figcaption>{esc(bound(caption))}</figcaption>{chart}</figure>"


def figures(charts: Sequence[str]) -> str:
    """Charts side by side where there is room."""
    return f'<div class="figures">{"".join(charts)}</div>' if charts else ""


def tile(label: str, value: str, note: str) -> str:
    """One key number; all three are text."""
    return f'<div class="tile"><dt>{esc(label)}</dt><dd>{esc(bound(value))}</dd><dd class="note">{esc(bound(note))}</dd></div>'


def lead(sentence: str) -> str:
    """The first sentence of a section, as text."""
    return f'<p class="lead">{esc(bound(sentence))}</p>'


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, caption: str, marked: Sequence[int] = (), tall: bool = False
) -> str:
    """A table that sorts on a click; `marked` rows stand out, a `tall` table scrolls inside its box."""
    css = "scroll tall" if tall else "scroll"
    head = _groups(columns) + "<tr>" + "".join(_heading(c) for c in columns) + "</tr>"
    body = "".join(_row(columns, row, i in marked) for i, row in enumerate(rows))
    name = esc(caption)
    return (
        f'<p class="caption">{name}</p><div class="{css}" role="region" aria-label="{name}" tabindex="0">'
        f'<table class="sortable" aria-label="{name}"><thead>{head}</thead><tbody>{body}</tbody></table></div>'
    )


def _row(columns: Sequence[Column], row: Sequence[Cell], marked: bool) -> str:
    cells = "".join(_cell(c, cell, i == 0) for i, (c, cell) in enumerate(zip(columns, row, strict=True)))
    return f'<tr class="marked">{cells}</tr>' if marked else f"<tr>{cells}</tr>"


def _groups(columns: Sequence[Column]) -> str:
    if not any(c.group for c in columns):
        return ""
    spans: list[tuple[str, int]] = []
    for column in columns:
        if spans and spans[-1][0] == column.group:
            spans[-1] = (column.group, spans[-1][1] + 1)
        else:
            spans.append((column.group, 1))
    cells = "".join(f'<th colspan="{n}" scope="colgroup">{esc(group)}</th>' if group else f'<td colspan="{n}"></td>' for group, n in spans)
    return f'<tr class="groups">{cells}</tr>'


def _heading(column: Column) -> str:
    css = ' class="n"' if column.numeric else ""
    return f'<th scope="col"{css}><button type="button">{esc(column.title)}</button></th>'


def _cell(column: Column, cell: Cell, first: bool) -> str:
    tag, scope = ("th", ' scope="row"') if first else ("td", "")
    css = ' class="n"' if column.numeric else ""
    key = "" if cell.sort is None else f' data-v="{esc(cell.sort)}"'
    note = f"<small>{cell.note}</small>" if cell.note else ""
    return f"<{tag}{scope}{css}{key}>{cell.html}{note}</{tag}>"
