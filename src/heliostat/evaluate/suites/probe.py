"""What a linear classifier can read off frozen embeddings, on labelled data of another kind.

Shapes: N rows, D width, K folds.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from heliostat.artifacts import Interval
from heliostat.core import seeds
from heliostat.core.errors import RunFailed, UserError, nearest
from heliostat.core.family import In
from heliostat.evaluate.suites.base import Base
from heliostat.metrics._intervals import bootstrap_means

TEXT, LABEL = "text", "label"


class Probe(Base):
    """Share of labelled rows that logistic regression on frozen embeddings gets right, by cross-validation."""

    gives: ClassVar[tuple[str, ...]] = ("accuracy",)

    source: In["corpus.sources"]  # type: ignore[name-defined]  # noqa: F821, UP037
    """Member of corpus/sources: where the labelled rows are."""
    text: str = TEXT
    """Column that holds the text."""
    label: str = LABEL
    """Column that holds its class."""
    folds: int = Field(5, ge=2, le=20)
    """Parts the rows are split into; each is predicted from the others."""
    strength: float = Field(10.0, gt=0)
    """Inverse L2 penalty; the same for every model, so that only the embeddings differ."""
    max_rows: int = Field(2000, ge=20)
    """Most rows used, evenly spaced over all of them."""

    def describe(self) -> str:
        texts, labels = self.rows
        return (
            f"Frozen-feature probe: {self.folds}-fold logistic regression on the encoder's embeddings of {len(texts):,} rows with "
            f"{len(set(labels))} classes the model was never tuned for."
        )

    def problems(self) -> list[str]:
        found = [f"source.{problem}" for problem in self.source.problems()]
        if found:
            return found
        present = self.source.peek(self.source.files()[0])
        for option, column in (("text", self.text), ("label", self.label)):
            if column not in present:
                close = nearest(column, present)
                hint = f" Did you mean '{close}'?" if close else ""
                found.append(f"{option}: the source has no column '{column}'.{hint} It has: {', '.join(present) or 'none'}.")
        return found

    def score(self, predictor: Any, *, engine: Any, task: Any, seed: int, resamples: int) -> dict[str, Interval]:
        texts, labels = self.rows
        names, targets_N = np.unique(labels, return_inverse=True)
        if len(names) < 2 or len(texts) < self.folds:
            raise RunFailed(f"probe: {len(texts)} rows of {len(names)} classes; it needs 2 classes and at least {self.folds} rows.")
        embeddings_ND = np.asarray(engine.embed(predictor, texts, task=task))
        fold_N = folds(targets_N, self.folds, seed)
        right_N = cross_validated(embeddings_ND, targets_N, fold_N, self.strength) == targets_N
        return bootstrap_means({"accuracy": right_N}, seed=seed, resamples=resamples)

    @cached_property
    def rows(self) -> tuple[list[str], list[str]]:
        """(texts, labels) of every row that has both, at most `max_rows`."""
        pairs = []
        for file in self.source.files():
            for row in self.source.rows(file):
                values = getattr(row, "values", {})  # a row that cannot be read has none
                text, label = values.get(self.text), values.get(self.label)
                if text not in (None, "") and label not in (None, ""):
                    pairs.append((str(text), str(label)))
        if not pairs:
            raise UserError(f"probe: no row of the source has both '{self.text}' and '{self.label}'. Name its columns in text and label.")
        if len(pairs) > self.max_rows:
            pairs = [pairs[i] for i in np.linspace(0, len(pairs) - 1, self.max_rows).round().astype(int)]
        return [text for text, _ in pairs], [label for _, label in pairs]


def folds(targets_N: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The fold [N] of each row: every class is dealt out evenly, in an order made from the seed."""
    order_N = seeds.rng(seed, "evaluate", "probe").permutation(len(targets_N))
    order_N = order_N[np.argsort(targets_N[order_N], kind="stable")]
    fold_N = np.empty(len(targets_N), dtype=np.int64)
    fold_N[order_N] = np.arange(len(targets_N)) % count
    return fold_N


def cross_validated(embeddings_ND: np.ndarray, targets_N: np.ndarray, fold_N: np.ndarray, strength: float) -> np.ndarray:
    """The class [N] each row gets from a classifier that saw the other folds only."""
    from sklearn.linear_model import LogisticRegression

    decided_N = np.empty_like(targets_N)
    for fold in np.unique(fold_N):
        held_N = fold_N == fold
        seen = np.unique(targets_N[~held_N])
        if len(seen) == 1:
            decided_N[held_N] = seen[0]
            continue
        model = LogisticRegression(C=strength, max_iter=1000).fit(embeddings_ND[~held_N], targets_N[~held_N])
        decided_N[held_N] = model.predict(embeddings_ND[held_N])
    return decided_N
