"""Which labels are found, where a row may have several, and the rows with most mistakes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from heliostat.report.evidence import Evidence
from heliostat.report.judged import Judged, inputs, item, judged
from heliostat.report.markup import Column, lead, plain, table
from heliostat.report.sections.base import Base
from heliostat.report.wording import esc, plural, score

MAX_NAMES = 200
SHOWN_NAMES = 8
"""Most labels that are listed of one row."""


class Names(Base):
    """Precision, recall and F1 of each label, and what was missed and wrongly given in the hardest rows."""

    title: ClassVar[str] = "Labels"
    order: ClassVar[int] = 52

    def render(self, evidence: Evidence) -> str:
        ground = judged(evidence, "names")
        if ground is None or not evidence.corpus.labels:
            return ""
        ship = evidence.verdict.ship
        given_NC, has_NC = ground.answers[ship] > 0, ground.targets > 0
        right = int((given_NC & has_NC).sum())
        told = f"{ship} finds {right:,} of the {plural(int(has_NC.sum()), 'label')} of {plural(len(has_NC), 'test row')}"
        told += f"; {int(given_NC.sum()) - right:,} of the {int(given_NC.sum()):,} it gives are wrong. A label is given from one half on."
        return lead(told) + _labels(ground, evidence) + _rows(given_NC, has_NC, evidence)


def _labels(ground: Judged, evidence: Evidence) -> str:
    """A row per label for the shipped model, with the F1 of the others."""
    ship, labels, has_NC = evidence.verdict.ship, evidence.corpus.labels, ground.targets > 0
    models = [ship, *ground.others(ship)]
    given_C = {name: (ground.answers[name] > 0).sum(0) for name in models}
    right_C = {name: ((ground.answers[name] > 0) & has_NC).sum(0) for name in models}
    true_C = has_NC.sum(0)
    rows = []
    for c in np.argsort(-true_C, kind="stable")[:MAX_NAMES]:
        counts = [int(each_C[c]) for each_C in (true_C, given_C[ship], right_C[ship])]
        f1s = [_share(2 * right_C[name][c], given_C[name][c] + true_C[c]) for name in models]
        shares = [_share(counts[2], counts[1]), _share(counts[2], counts[0]), *f1s]
        cells = [*(plain(f"{n:,}", n) for n in counts), *(plain(score(s), -1.0 if s is None else s) for s in shares)]
        rows.append([plain(labels[c]), *cells])
    columns = [Column("label", numeric=False), Column("there are"), Column("given"), Column("right")]
    columns += [Column(name) for name in ("precision", "recall", "F1")] + [Column(name, group="F1 of other models") for name in models[1:]]
    cut = f", the {MAX_NAMES} most frequent of {len(labels)}" if len(labels) > MAX_NAMES else ""
    return table(columns, rows, caption=f"Labels of the test rows{cut}, as {ship} gives them", tall=len(rows) > 25)


def _share(above: float, below: float) -> float | None:
    return float(above) / float(below) if below else None


def _rows(given_NC: np.ndarray, has_NC: np.ndarray, evidence: Evidence) -> str:
    """The rows with most labels missed or wrongly given."""
    faults_N = (given_NC != has_NC).sum(1)
    chosen = [int(i) for i in np.argsort(-faults_N, kind="stable")[: evidence.config.hardest] if faults_N[i]]
    if not chosen:
        return lead(f"{evidence.verdict.ship} makes no mistake on the test rows.")
    texts = inputs(evidence, np.array(chosen))
    items = []
    for i in chosen:
        kinds = (("true", "missed", has_NC[i] & ~given_NC[i]), ("said", "wrongly given", given_NC[i] & ~has_NC[i]))
        parts = [f'<span class="{css}">{word} <b>{esc(_told(which, evidence))}</b></span>' for css, word, which in kinds if which.any()]
        items.append(item(texts.get(i), i, "".join(parts)))
    return f'<h3>Rows with most mistakes</h3><ol class="errors">{"".join(items)}</ol>'


def _told(which_C: np.ndarray, evidence: Evidence) -> str:
    names = [evidence.corpus.labels[c] for c in np.flatnonzero(which_C)]
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more
