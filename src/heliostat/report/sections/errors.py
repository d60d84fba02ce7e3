"""The rows the shipped model gets most confidently wrong."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from heliostat.report.evidence import Evidence
from heliostat.report.judged import inputs
from heliostat.report.markup import lead, model_mark
from heliostat.report.media import shown
from heliostat.report.sections.base import Base
from heliostat.report.wording import esc, percent, plural


class Errors(Base):
    """The hardest test rows: the input, the true class, the answer, and what the other models said."""

    title: ClassVar[str] = "Hardest errors"
    order: ClassVar[int] = 60

    def render(self, evidence: Evidence) -> str:
        ship = evidence.verdict.ship
        if evidence.truth is None or ship not in evidence.probabilities or not evidence.config.hardest:
            return ""
        wrong = np.flatnonzero(~evidence.right[ship])
        if not len(wrong):
            return lead(f"{ship} makes no mistake on the test rows.")
        certainty = evidence.probabilities[ship].max(1)
        chosen = wrong[np.argsort(-certainty[wrong], kind="stable")][: evidence.config.hardest]
        given = inputs(evidence, chosen)
        alone = sum(all(evidence.right[m][i] for m in evidence.right if m != ship) for i in chosen) if len(evidence.right) > 1 else 0
        told = f"{plural(len(chosen), 'mistake')} of {len(wrong):,}, most confident first. A wrong label in the data shows up here too."
        told += f" In {alone:,} of them every other model is right." if alone else ""
        items = "".join(_row(evidence, int(i), given.get(int(i))) for i in chosen)
        return f'{lead(told)}<ol class="errors">{items}</ol>'


def _row(evidence: Evidence, i: int, value: Any) -> str:
    assert evidence.truth is not None
    ship, labels = evidence.verdict.ship, evidence.corpus.labels
    given = evidence.probabilities[ship][i]
    answer, true = int(given.argmax()), int(evidence.truth[i])
    given_to_it = shown(value, f"test row {i}", evidence.task.reads)
    told = "".join(_other(evidence, name, i) for name in evidence.probabilities if name != ship)
    others = f'<ul class="others">{told}</ul>' if told else ""
    said = f'<span class="said">said <b>{esc(labels[answer])}</b> {percent(float(given[answer]))}</span>'
    truth = f'<span class="true">is <b>{esc(labels[true])}</b> {percent(float(given[true]))}</span>'
    return f'<li>{given_to_it}<p class="answer">{said}{truth}</p>{others}</li>'


def _other(evidence: Evidence, name: str, i: int) -> str:
    given = evidence.probabilities[name][i]
    answer = int(given.argmax())
    right = evidence.right[name][i]
    word = "right" if right else "wrong"
    said = f"{evidence.corpus.labels[answer]} {percent(float(given[answer]))}"
    return f'<li class="{word}">{model_mark(name, evidence.colours[name])} {esc(said)} <span class="word">{word}</span></li>'
