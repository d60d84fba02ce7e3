"""The counts that every metric of hard decisions is made of, under many weightings of the rows at once.

Shapes: N rows, C labels, R weightings. Three vectors per weighting replace the C x C confusion matrix: the hits of each
label, how often it was predicted and how often it was true.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Counts(NamedTuple):
    """Weighted counts per label, each [R, C]."""

    hits_RC: np.ndarray
    predicted_RC: np.ndarray
    actual_RC: np.ndarray

    def mean_over_seen(self, values_RC: np.ndarray) -> np.ndarray:
        """Mean over the labels that were true or predicted at least once, [R]: scikit-learn's "macro"."""
        seen_RC = (self.predicted_RC + self.actual_RC) > 0
        return np.where(seen_RC, values_RC, 0.0).sum(1) / seen_RC.sum(1)


def count(logits_NC: np.ndarray, targets_N: np.ndarray, weights_RN: np.ndarray) -> Counts:
    """The counts of the decision argmax(logits); of equal logits the first label is decided."""
    labels = logits_NC.shape[1]
    decided_N = logits_NC.argmax(1)
    predicted_NC = np.eye(labels)[decided_N]
    actual_NC = np.eye(labels)[targets_N]
    return Counts(weights_RN @ (predicted_NC * actual_NC), weights_RN @ predicted_NC, weights_RN @ actual_NC)


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """`above / below`, and 0 where `below` is 0 (nothing predicted, nothing to find)."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
