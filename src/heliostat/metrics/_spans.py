"""Spans of tagged words, and how many of each row were found: what every metric of spans is made of.

Shapes: N rows, W words, C tags, R weightings, S spans. Tags are indices as `core.tags` orders them: 0 is outside, 2k + 1
begins a span of type k, 2k + 2 goes on with one; -100 is a word without a target. The spans of each row are counted once,
and a weighting of the rows is a product with the counts.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np

from heliostat.metrics.base import Base


class Spans(NamedTuple):
    """Spans in reading order, each array [S]."""

    row: np.ndarray
    start: np.ndarray
    length: np.ndarray
    kind: np.ndarray


def spans(tags_NW: np.ndarray, *, strict: bool = False) -> Spans:
    """Where spans are; no two of a row overlap.

    A span goes on with words of its type until one begins another. One that begins with what should go on counts as a span, as
    in conlleval (Tjong Kim Sang and Buchholz, CoNLL 2000) and in seqeval's default mode; `strict` drops it, as seqeval's strict
    mode does with IOB2.
    """
    tags_NW = np.maximum(tags_NW, 0)
    kind_NW = (tags_NW + 1) // 2  # 0 is outside
    begins_NW = tags_NW % 2 == 1
    before_NW, after_NW = np.zeros_like(kind_NW), np.zeros_like(kind_NW)
    before_NW[:, 1:], after_NW[:, :-1] = kind_NW[:, :-1], kind_NW[:, 1:]
    inside_NW = kind_NW > 0
    starts_NW = inside_NW & (begins_NW | (kind_NW != before_NW))
    started_after_NW = np.zeros_like(starts_NW)
    started_after_NW[:, :-1] = starts_NW[:, 1:]
    ends_NW = inside_NW & (started_after_NW | (kind_NW != after_NW))
    (row_S, start_S), (_, end_S) = np.nonzero(starts_NW), np.nonzero(ends_NW)  # the n-th end belongs to the n-th start
    if strict:
        kept_S = begins_NW[row_S, start_S]
        row_S, start_S, end_S = row_S[kept_S], start_S[kept_S], end_S[kept_S]
    return Spans(row_S, start_S, end_S - start_S + 1, kind_NW[row_S, start_S] - 1)


def found(one: Spans, other: Spans, words: int, kinds: int) -> np.ndarray:
    """Which spans of `one` are spans of `other` too [S]: same row, same words, same type."""

    def code(s: Spans) -> np.ndarray:
        return ((s.row.astype(np.int64) * words + s.start) * (words + 1) + s.length) * kinds + s.kind

    return np.isin(code(one), code(other), assume_unique=True)


def decided(logits_NWC: np.ndarray, targets_NW: np.ndarray) -> np.ndarray:
    """The tags [N, W] a model decides for; words without a target are outside. A word it did not read has zeros, which is outside."""
    return np.where(targets_NW < 0, 0, logits_NWC.argmax(2))


class SpanCounts(NamedTuple):
    """Weighted counts of spans, each [R]."""

    hits_R: np.ndarray
    predicted_R: np.ndarray
    actual_R: np.ndarray


class SpanMetric(Base):
    """A metric of how many spans were found with their exact words and type."""

    mode = "max"
    judges: ClassVar[str] = "tags"

    strict: bool = False
    """Count no predicted span that begins with I-, as seqeval's strict mode does."""

    def weighted(self, logits_NC: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        rows, words, tags = logits_NC.shape
        assert tags % 2 == 1, f"{tags} tags: O, and two for each type of span, are an odd number"
        actual, predicted = (spans(t, strict=self.strict) for t in (targets_N, decided(logits_NC, targets_N)))
        hits_S = found(predicted, actual, words, tags // 2)
        counted = (predicted.row[hits_S], predicted.row, actual.row)
        return self.of(SpanCounts(*(weights_RN @ np.bincount(row_S, minlength=rows) for row_S in counted)))

    @abstractmethod
    def of(self, counts: SpanCounts) -> np.ndarray:
        """The metric [R]."""
