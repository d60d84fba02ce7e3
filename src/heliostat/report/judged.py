"""Test rows whose answers are no classes: what is right, and what each model said. Sections about them read this."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heliostat.report.evidence import Evidence
from heliostat.report.media import shown

BETWEEN = " ⁄ "
"""Stands between two texts that were read together."""


@dataclass(frozen=True)
class Judged:
    """What is right and what was said; models whose answers are known and finite."""

    targets: np.ndarray
    """As the task's metrics see them, [rows, ...]."""
    answers: dict[str, np.ndarray]
    """Model name to its answers [rows, ...]."""

    def others(self, ship: str) -> list[str]:
        """The models beside the shipped one."""
        return [name for name in self.answers if name != ship]


def judged(evidence: Evidence, kind: str) -> Judged | None:
    """None where the task answers with something else than `kind`, or nothing is known of the shipped model's answers."""
    if evidence.task.answers_are != kind:
        return None
    values = evidence.column("test", evidence.columns[1])
    if not values:
        return None
    task = evidence.task
    targets = task.stacked(task.targets({evidence.columns[1]: values}, evidence.corpus.labels))
    shape = targets.shape if targets.ndim > 1 else (len(targets), 1)
    answers = {}
    for scores in (evidence.base, evidence.scores):
        for model in scores.models:
            path = scores.path / f"{model.name}.npy"
            said = np.load(path, allow_pickle=False) if path.exists() else None
            if said is not None and said.shape == shape and np.isfinite(said).all():
                answers[model.name] = said
    return Judged(targets, answers) if evidence.verdict.ship in answers else None


def inputs(evidence: Evidence, rows: np.ndarray) -> dict[int, object]:
    """Row number to what a model is given of it: one input, or texts that are read together."""
    columns = [evidence.values("test", name, rows) for name in list(evidence.task.columns())[:-1]]
    if len(columns) < 2:
        return dict(columns[0]) if columns else {}
    return {row: BETWEEN.join(str(each.get(row, "")) for each in columns) for row in columns[0]}


def item(given: object, row: int, answer: str, others: str = "") -> str:
    """One row of a list of mistakes: what was read, and markup of what was said."""
    more = f'<ul class="others">{others}</ul>' if others else ""
    return f'<li>{shown(given, f"test row {row}", "text")}<p class="answer">{answer}</p>{more}</li>'
