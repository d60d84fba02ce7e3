"""Which classes are taken for which."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from heliostat.report.evidence import Evidence
from heliostat.report.markup import Column, lead, plain, table
from heliostat.report.sections.base import Base
from heliostat.report.wording import MINUS, esc, percent, plural

MAX_CLASSES = 24
MOST_FREQUENT = 20


class Confusion(Base):
    """The confusion matrix of the shipped model, and what changed against the best trial."""

    title: ClassVar[str] = "Confusion"
    order: ClassVar[int] = 50

    def render(self, evidence: Evidence) -> str:
        ship = evidence.verdict.ship
        if evidence.truth is None or ship not in evidence.probabilities:
            return ""
        labels = evidence.corpus.labels
        matrix = confusion(evidence.truth, evidence.probabilities[ship].argmax(1), len(labels))
        wrong = int(matrix.sum() - np.trace(matrix))
        told = lead(f"{ship} misses {plural(wrong, 'row')} of {int(matrix.sum()):,}. {_worst(matrix, labels)}")
        if len(labels) > MAX_CLASSES:
            return told + _list(matrix, labels)
        other = evidence.contenders[0].name
        parts = [_heat(matrix, labels, caption=f"{ship}: true class down, predicted class across")]
        if other != ship and other in evidence.probabilities:
            before = confusion(evidence.truth, evidence.probabilities[other].argmax(1), len(labels))
            parts.append(_difference(matrix - before, labels, caption=f"Change from {other} to {ship}, in rows"))
        return told + f'<div class="figures">{"".join(parts)}</div>'


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Rows of each (true, predicted) pair [classes, classes]."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def _worst(matrix: np.ndarray, labels: tuple[str, ...]) -> str:
    off = matrix - np.diag(np.diag(matrix))
    if not off.any():
        return "Every class is told apart."
    if off.max() == 1:
        return "No two classes are confused more than once."
    i, j = np.unravel_index(int(off.argmax()), off.shape)
    return f"The most frequent mistake is {labels[i]} taken for {labels[j]} ({plural(int(off[i, j]), 'row')})."


def _heat(matrix: np.ndarray, labels: tuple[str, ...], *, caption: str) -> str:
    totals = matrix.sum(1)
    rows = []
    for i, label in enumerate(labels):
        cells = []
        for j, count in enumerate(matrix[i]):
            share = count / totals[i] if totals[i] else 0.0
            kind = "hit" if i == j else "miss"
            depth = f"{0.1 + 0.8 * share:.2f}" if count else "0"
            deep = " deep" if 0.1 + 0.8 * share > 0.55 and count else ""
            tip = esc(f"{label} taken for {labels[j]}: {plural(int(count), 'row')}, {percent(share)} of {label}")
            cells.append(f'<td class="{kind}{deep}" style="--v:{depth}" data-tip="{tip}">{int(count) if count else ""}</td>')
        recall = percent(matrix[i, i] / totals[i]) if totals[i] else ""
        rows.append(f'<tr><th scope="row">{esc(label)}</th>{"".join(cells)}<td class="sum">{recall}</td></tr>')
    return _matrix(labels, rows, caption, last="found")


def _difference(change: np.ndarray, labels: tuple[str, ...], *, caption: str) -> str:
    largest = max(1, int(np.abs(change).max()))
    rows = []
    for i, label in enumerate(labels):
        cells = []
        for j, delta in enumerate(int(d) for d in change[i]):
            good = (delta > 0) == (i == j)
            kind = "same" if delta == 0 else "better" if good else "worse"
            shown = "" if delta == 0 else f"+{delta}" if delta > 0 else f"{MINUS}{-delta}"
            tip = esc(f"{label} taken for {labels[j]}: {shown or 'no change'}")
            depth = 0.12 + 0.5 * abs(delta) / largest if delta else 0.0
            cells.append(f'<td class="{kind}" style="--v:{depth:.2f}" data-tip="{tip}">{shown}</td>')
        rows.append(f'<tr><th scope="row">{esc(label)}</th>{"".join(cells)}</tr>')
    return _matrix(labels, rows, caption)


def _matrix(labels: tuple[str, ...], rows: list[str], caption: str, last: str = "") -> str:
    end = f'<th scope="col"><span>{esc(last)}</span></th>' if last else ""
    head = "".join(f'<th scope="col"><span>{esc(label)}</span></th>' for label in labels)
    name = esc(caption)
    return (
        f'<figure class="matrix"><figcaption>{name}</figcaption><div class="scroll" role="region" tabindex="0" aria-label="{name}">'
        f"<table><thead><tr><td></td>{head}{end}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></figure>"
    )


def _list(matrix: np.ndarray, labels: tuple[str, ...]) -> str:
    off = matrix - np.diag(np.diag(matrix))
    pairs = [divmod(int(k), len(labels)) for k in np.argsort(-off, axis=None, kind="stable")[:MOST_FREQUENT]]
    totals = matrix.sum(1)
    rows = []
    for i, j in pairs:
        count = int(off[i, j])
        if count:
            share = count / totals[i]
            rows.append([plain(labels[i]), plain(labels[j]), plain(f"{count:,}", count), plain(percent(share), float(share))])
    columns = [Column("true", numeric=False), Column("predicted", numeric=False), Column("rows"), Column("share of the class")]
    return table(columns, rows, caption=f"The most frequent of the mistakes between {len(labels)} classes")
