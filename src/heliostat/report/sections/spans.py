"""Which spans are found, by type, and the rows in which most are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from heliostat.core.tags import outputs, type_of
from heliostat.core.words import joined
from heliostat.metrics._spans import Spans as Found
from heliostat.metrics._spans import decided, found, spans
from heliostat.report.evidence import Evidence
from heliostat.report.markup import Column, lead, plain, table
from heliostat.report.sections.base import Base
from heliostat.report.wording import esc, excerpt, plural, score

SHOWN_SPANS = 8
"""Most spans that are listed of one row."""


class Spans(Base):
    """Precision, recall and F1 of each type of span, and what was missed and made up in the hardest rows."""

    title: ClassVar[str] = "Spans"
    order: ClassVar[int] = 55

    def render(self, evidence: Evidence) -> str:
        ground = _ground(evidence)
        ship = evidence.verdict.ship
        if ground is None or ship not in ground.predicted:
            return ""
        right = int(ground.hits(ship).sum())
        said, true = len(ground.predicted[ship].row), len(ground.actual.row)
        told = f"{ship} finds {right:,} of {plural(true, 'span')} with their exact words and type"
        told += f"; {said - right:,} of the {said:,} it marks are wrong."
        return lead(told) + _types(ground, evidence) + _rows(ground, evidence)


@dataclass(frozen=True)
class _Ground:
    """The spans of the test rows: what is there, and what each model marks."""

    kinds: list[str]
    tokens: list[list[str]]
    words: int
    """Most words of a row."""
    actual: Found
    predicted: dict[str, Found]
    """Model name to the spans it marks; models whose answers are known."""

    def hits(self, model: str) -> np.ndarray:
        """Which of the model's spans are there [spans it marks]."""
        return found(self.predicted[model], self.actual, self.words, len(self.kinds))

    def recalled(self, model: str) -> np.ndarray:
        """Which of the spans that are there it marks [spans there are]."""
        return found(self.actual, self.predicted[model], self.words, len(self.kinds))


def _ground(evidence: Evidence) -> _Ground | None:
    """None where rows have no spans, or nothing is known of them."""
    labels = list(evidence.corpus.labels)
    if evidence.task.answers_are != "tags" or len(labels) < 2 or outputs(labels) != labels:
        return None
    tokens, tags = (evidence.column("test", name) for name in ("tokens", "tags"))
    if not tokens or not tags:
        return None
    targets_NW = evidence.task.stacked(evidence.task.targets({"tokens": tokens, "tags": tags}, labels))
    shape = (*targets_NW.shape, len(labels))
    predicted = {}
    for scores in (evidence.base, evidence.scores):
        for model in scores.models:
            answers = _answers(scores.path / f"{model.name}.npy", shape)
            if answers is not None:
                predicted[model.name] = spans(decided(answers, targets_NW))
    kinds = [type_of(tag) or "span" for tag in labels[1::2]]
    return _Ground(kinds, tokens, targets_NW.shape[1], spans(targets_NW), predicted)


def _answers(path: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    answers = np.load(path, allow_pickle=False) if path.exists() else None
    return answers if answers is not None and answers.shape == shape and not np.isnan(answers).any() else None


def _types(ground: _Ground, evidence: Evidence) -> str:
    """A row per type for the shipped model, with the F1 of the others."""
    ship, kinds = evidence.verdict.ship, len(ground.kinds)
    others = [name for name in ground.predicted if name != ship]
    true_K = np.bincount(ground.actual.kind, minlength=kinds)
    marked_K, right_K = {}, {}
    for name in (ship, *others):
        kind_S = ground.predicted[name].kind
        marked_K[name], right_K[name] = (np.bincount(each, minlength=kinds) for each in (kind_S, kind_S[ground.hits(name)]))
    rows = []
    for k in np.argsort(-true_K, kind="stable"):
        counts = [int(each_K[k]) for each_K in (true_K, marked_K[ship], right_K[ship])]
        f1s = [_share(2 * right_K[name][k], marked_K[name][k] + true_K[k]) for name in (ship, *others)]
        shares = [_share(counts[2], counts[1]), _share(counts[2], counts[0]), *f1s]
        cells = [*(plain(f"{n:,}", n) for n in counts), *(plain(score(s), -1.0 if s is None else s) for s in shares)]
        rows.append([plain(ground.kinds[k]), *cells])
    columns = [Column("type", numeric=False), Column("there are"), Column("marked"), Column("right")]
    columns += [Column(name) for name in ("precision", "recall", "F1")] + [Column(name, group="F1 of other models") for name in others]
    return table(columns, rows, caption=f"Spans of the test rows by type, as {ship} marks them")


def _share(above: Any, below: Any) -> float | None:
    return float(above) / float(below) if below else None


def _rows(ground: _Ground, evidence: Evidence) -> str:
    """The rows with most spans missed or made up."""
    ship = evidence.verdict.ship
    predicted = ground.predicted[ship]
    missed, wrong = ~ground.recalled(ship), ~ground.hits(ship)
    rows = len(ground.tokens)
    faults_N = np.bincount(ground.actual.row[missed], minlength=rows) + np.bincount(predicted.row[wrong], minlength=rows)
    chosen = [int(i) for i in np.argsort(-faults_N, kind="stable")[: evidence.config.hardest] if faults_N[i]]
    if not chosen:
        return lead(f"{ship} makes no mistake on the test rows.")
    items = []
    for i in chosen:
        there = _told(ground, ground.actual, missed & (ground.actual.row == i))
        said = _told(ground, predicted, wrong & (predicted.row == i))
        parts = (f'<span class="true">missed <b>{esc(there)}</b></span>' if there else "") + (
            f'<span class="said">marked <b>{esc(said)}</b></span>' if said else ""
        )
        text = esc(excerpt(joined(ground.tokens[i])))
        items.append(f'<li><p class="text" dir="auto">{text}</p><p class="answer">{parts}</p></li>')
    heading = "<h3>Rows with most mistakes</h3>"
    return f'{heading}<ol class="errors">{"".join(items)}</ol>'


def _told(ground: _Ground, of: Found, which: np.ndarray) -> str:
    """Spans of one row as their words and types."""
    at = np.flatnonzero(which)
    told = []
    for s in at[:SHOWN_SPANS]:
        start = int(of.start[s])
        words = joined(ground.tokens[int(of.row[s])][start : start + int(of.length[s])])
        told.append(f"{excerpt(words, 60)} ({ground.kinds[int(of.kind[s])]})")
    return ", ".join(told) + (f" and {len(at) - SHOWN_SPANS} more" if len(at) > SHOWN_SPANS else "")
