"""What a linear classifier can read off frozen embeddings, on labelled data of another kind.

Shapes: N rows, D width, K folds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from heliostat.artifacts import Interval
from heliostat.core import seeds
from heliostat.core.errors import RunFailed, UserError, nearest
from heliostat.core.family import In
from heliostat.evaluate.suites.base import Base
from heliostat.metrics._intervals import bootstrap_means

KINDS, LABEL = ("text", "image", "audio"), "label"


class Probe(Base):
    """Share of labelled rows that logistic regression on frozen embeddings gets right, by cross-validation."""

    gives: ClassVar[tuple[str, ...]] = ("accuracy",)
    reads: ClassVar[tuple[str, ...]] = KINDS

    source: In["corpus.sources"]  # type: ignore[name-defined]  # noqa: F821, UP037
    """Member of corpus/sources: where the labelled rows are."""
    text: str | None = None
    """Column that holds the text, or the bytes of a picture or a recording; None is the one called text, image or audio."""
    label: str = LABEL
    """Column that holds its class."""
    folds: int = Field(5, ge=2, le=20)
    """Parts the rows are split into; each is predicted from the others."""
    strength: float = Field(10.0, gt=0)
    """Inverse L2 penalty; the same for every model, so that only the embeddings differ."""
    max_rows: int = Field(2000, ge=20)
    """Most rows used, evenly spaced over all of them."""

    def describe(self) -> str:
        inputs, labels = self.rows
        return (
            f"Frozen-feature probe: {self.folds}-fold logistic regression on the encoder's embeddings of {len(inputs):,} rows with "
            f"{len(set(labels))} classes the model was never tuned for."
        )

    def problems(self) -> list[str]:
        found = [f"source.{problem}" for problem in self.source.problems()]
        if found:
            return found
        present = self.source.peek(self.source.files()[0])
        for option, column in (("text", self.column), ("label", self.label)):
            if column not in present:
                close = nearest(column, present)
                hint = f" Did you mean '{close}'?" if close else ""
                found.append(f"{option}: the source has no column '{column}'.{hint} It has: {', '.join(present) or 'none'}.")
        return found

    def score(self, predictor: Any, *, engine: Any, task: Any, seed: int, resamples: int) -> dict[str, Interval]:
        inputs, labels = self.rows
        names, targets_N = np.unique(labels, return_inverse=True)
        if len(names) < 2 or len(inputs) < self.folds:
            raise RunFailed(f"probe: {len(inputs)} rows of {len(names)} classes; it needs 2 classes and at least {self.folds} rows.")
        embeddings_ND = np.asarray(engine.embed(predictor, inputs, task=task))
        fold_N = folds(targets_N, self.folds, seed)
        right_N = cross_validated(embeddings_ND, targets_N, fold_N, self.strength) == targets_N
        return bootstrap_means({"accuracy": right_N}, seed=seed, resamples=resamples)

    @cached_property
    def column(self) -> str:
        """The column that holds the input."""
        present = self.source.peek(self.source.files()[0])
        return self.text or next((name for name in KINDS if name in present), KINDS[0])

    @cached_property
    def rows(self) -> tuple[list[Any], list[str]]:
        """(inputs, labels) of every row that has both, at most `max_rows`: read twice when there are more, never held all at once."""
        pairs = list(islice(self._pairs(), self.max_rows + 1))
        if not pairs:
            raise UserError(f"probe: no row of the source has both '{self.column}' and '{self.label}'. Name its columns in text and label.")
        if len(pairs) > self.max_rows:
            count = sum(1 for _ in self._pairs())
            wanted = set(np.linspace(0, count - 1, self.max_rows).round().astype(int).tolist())
            pairs = [pair for i, pair in enumerate(self._pairs()) if i in wanted]
        return [given for given, _ in pairs], [label for _, label in pairs]

    def _pairs(self) -> Iterator[tuple[Any, str]]:
        for file in self.source.files():
            for row in self.source.rows(file):
                values = getattr(row, "values", {})  # a row that cannot be read has none
                given, label = values.get(self.column), values.get(self.label)
                if given not in (None, "", b"") and label not in (None, ""):
                    yield given if isinstance(given, bytes) else str(given), str(label)


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
