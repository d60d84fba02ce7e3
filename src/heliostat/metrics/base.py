"""Contract of metrics.

Shapes: N rows, C labels, W words of a row, R weightings of the rows. A metric is written for weighted rows, so that one
number (all weights 1) and a bootstrap of a thousand resamples (weights = how often a row was drawn) are the same code,
and the bootstrap costs a matrix product instead of a loop.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Literal

import numpy as np

from heliostat.core import seeds
from heliostat.core.family import Member

Mode = Literal["max", "min"]


class Base(Member):
    """One number that compares logits with targets; `mode` says whether more or less of it is better.

    Logits may be log-probabilities (their softmax is the same); -inf is a probability of 0. NaN logits give NaN, and
    NaN never wins (`merit`). A metric that the rows do not define (no rows, one class only) is NaN too.
    """

    mode: ClassVar[Mode]
    judges: ClassVar[str] = "labels"
    """What kind of answers it takes, as tasks name it (`answers_are`):
    labels (logits [N, C], indices [N]), names (logits [N, C], 0 or 1 [N, C]), tags (logits [N, W, C], all zero for a word that was
    not read, indices [N, W] in the order of `core.tags`, -100 where there is no word), numbers (values [N, 1], numbers [N]),
    likelihood (sum of log-losses, number of target tokens and, where the task tells them, UTF-8 bytes these stand for [N, 2 or 3];
    targets are not looked at)."""

    @abstractmethod
    def weighted(self, logits_NC: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        """The metric under each weighting, [R] float64. Logits hold neither NaN nor +inf, N is at least 1, every weighting sums above 0."""

    def value(self, logits_NC: np.ndarray, targets_N: np.ndarray) -> float:
        """The metric over all rows; `targets_N` are label indices."""
        return float(self.resampled(logits_NC, targets_N, np.ones((1, len(logits_NC))))[0])

    def resampled(self, logits_NC: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        """The metric under each weighting of the rows, [R] float64."""
        logits_NC, targets_N = np.asarray(logits_NC, dtype=np.float64), np.asarray(targets_N)
        rows = len(logits_NC)
        assert len(targets_N) == rows, f"{rows} rows of answers, {len(targets_N)} targets"
        assert weights_RN.shape[1] == rows, f"{rows} rows of answers, {weights_RN.shape[1]} weights"
        if rows == 0 or not np.all(logits_NC < math.inf):  # NaN compares false
            return np.full(len(weights_RN), math.nan)
        if self.judges == "labels":
            labels = logits_NC.shape[1]
            assert np.all((targets_N >= 0) & (targets_N < labels)), f"targets outside 0 to {labels - 1}"
        elif self.judges == "names":
            assert targets_N.shape == logits_NC.shape, f"targets {targets_N.shape} for logits {logits_NC.shape}"
        return self.weighted(logits_NC, targets_N, np.asarray(weights_RN, dtype=np.float64))

    def is_defined(self, logits_NC: np.ndarray, targets_N: np.ndarray) -> bool:
        """Whether other answers about these rows would have a value: no correlation has one with targets that are all equal."""
        other_NC = seeds.rng(0, "metrics", "other").standard_normal(np.shape(logits_NC))
        if self.judges == "likelihood":
            other_NC[:, 1:] = np.asarray(logits_NC)[:, 1:]  # numbers of tokens and bytes are the rows' own
        return math.isfinite(self.value(other_NC, targets_N))

    def merit(self, value: float | None) -> float:
        """`value` so that larger is better; NaN and None are -inf, so they never win."""
        if value is None or math.isnan(value):
            return -math.inf
        return value if self.mode == "max" else -value


def log_softmax(logits_NC: np.ndarray) -> np.ndarray:
    """Log-probabilities [N, C]; -inf stays -inf, a row of nothing else is uniform."""
    top_N1 = logits_NC.max(axis=1, keepdims=True)
    shifted_NC = logits_NC - np.where(np.isinf(top_N1), 0.0, top_N1)
    shifted_NC = np.where(np.isinf(top_N1), 0.0, shifted_NC)
    return shifted_NC - np.log(np.exp(shifted_NC).sum(axis=1, keepdims=True))
