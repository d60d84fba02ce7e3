"""Finding the passage that answers a query, by the cosine of sentence embeddings.

Shapes: Q queries, Q passages (passage q answers query q), D width.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from heliostat.artifacts import Interval
from heliostat.core.errors import UserError, nearest
from heliostat.core.provenance import content_fingerprint, locate
from heliostat.evaluate.suites._documentation import documentation, has_sources
from heliostat.evaluate.suites.base import Base
from heliostat.metrics._intervals import bootstrap_means

COLUMNS = ("query", "passage")
BLOCK = 1024


class Retrieval(Base):
    """Share of queries whose own passage is the nearest of all, by the encoder's sentence embeddings."""

    gives: ClassVar[tuple[str, ...]] = ("recall_at_1", "recall_at_5", "mrr")

    pairs: str | None = None
    """JSON lines with `query` and `passage`, a path or `package:NAME/file`; None reads the docstrings of Python's standard library."""
    max_pairs: int = Field(400, ge=2, le=100_000)
    """Most pairs used, evenly spaced over all of them; more passages make the task harder."""

    def identity(self) -> dict[str, Any]:
        if self.pairs is None:
            content = f"python-{platform.python_version()}"
        else:
            file = locate(self.pairs)
            content = content_fingerprint([file]) if file.is_file() else "missing"
        return {**super().identity(), "pairs": content}

    def describe(self) -> str:
        source = "the documentation of Python's standard library" if self.pairs is None else Path(self.pairs).name
        return (
            f"Text retrieval among {len(self.read()[0])} pairs from {source}: how well the encoder's embeddings still tell what a text "
            "is about on ground the model was never tuned for."
        )

    def problems(self) -> list[str]:
        if self.pairs is None:  # parsing the library takes a second: only look whether it is there
            return [] if has_sources() else ["pairs: this Python comes without its library's sources. Give a JSON lines file."]
        try:
            count = len(self.read()[0])
        except UserError as error:
            return [f"pairs: {error}"]
        return [] if count >= 2 else [f"pairs: {count} found, and retrieval needs at least 2. Add lines with query and passage."]

    def score(self, predictor: Any, *, engine: Any, task: Any, seed: int, resamples: int) -> dict[str, Interval]:
        queries, passages = self.read()
        queries_QD = engine.embed(predictor, queries, task=task)
        passages_QD = engine.embed(predictor, passages, task=task)
        rank_Q = ranks(np.asarray(queries_QD), np.asarray(passages_QD))
        values = {"recall_at_1": rank_Q <= 1, "recall_at_5": rank_Q <= 5, "mrr": 1.0 / rank_Q}
        return bootstrap_means(values, seed=seed, resamples=resamples)

    def read(self) -> tuple[list[str], list[str]]:
        """(queries, passages), at most `max_pairs`, the same ones every time."""
        pairs = list(documentation()) if self.pairs is None else read_pairs(locate(self.pairs))
        if len(pairs) > self.max_pairs:
            pairs = [pairs[i] for i in np.linspace(0, len(pairs) - 1, self.max_pairs).round().astype(int)]
        return [query for query, _ in pairs], [passage for _, passage in pairs]


def ranks(queries_QD: np.ndarray, passages_QD: np.ndarray) -> np.ndarray:
    """Rank [Q] of each query's own passage, 1 is the nearest; a tie counts against it, so collapsed embeddings find nothing.

    Not a number anywhere in a row puts that query last.
    """
    count = len(queries_QD)
    rank_Q = np.empty(count, dtype=np.int64)
    for start in range(0, count, BLOCK):
        cosines_BQ = queries_QD[start : start + BLOCK] @ passages_QD.T
        own_B1 = np.diagonal(cosines_BQ, offset=start)[:, None]
        rank_Q[start : start + BLOCK] = count - (cosines_BQ < own_B1).sum(1)
    return rank_Q


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """The (query, passage) pairs in a JSON lines file; `UserError` names the first line that is not one."""
    if not path.is_file():
        others = sorted(p.name for p in path.parent.glob("*.jsonl")) if path.parent.is_dir() else []
        close = nearest(path.name, others)
        hint = f" Did you mean '{path.parent / close}'?" if close else ""
        raise UserError(f"'{path}' does not exist.{hint} Give a JSON lines file with query and passage.")
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            pairs.append(_pair(line, f"'{path}' line {number}"))
    return pairs


def _pair(line: str, where: str) -> tuple[str, str]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where} is not JSON: {error}") from None
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) and row[name].strip() for name in COLUMNS):
        given = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise UserError(f"{where} needs a text in each of query and passage; it holds {given or 'nothing'}.")
    return row["query"], row["passage"]
