"""The counts of decisions about names that apply or not, each by itself, under many weightings of the rows at once.

Shapes: N rows, C names, R weightings. A name is decided to apply where its logit is above 0, a probability above one half.
"""

from __future__ import annotations

import numpy as np

from heliostat.metrics._confusion import Counts


def count(logits_NC: np.ndarray, targets_NC: np.ndarray, weights_RN: np.ndarray) -> Counts:
    """How often each name was decided and true, decided, and true."""
    predicted_NC = (logits_NC > 0).astype(np.float64)
    actual_NC = (targets_NC > 0).astype(np.float64)
    return Counts(weights_RN @ (predicted_NC * actual_NC), weights_RN @ predicted_NC, weights_RN @ actual_NC)


def f1(hits: np.ndarray, decided_and_true: np.ndarray) -> np.ndarray:
    """2 hits / (decided + true); NaN where nothing was either."""
    return np.divide(2 * hits, decided_and_true, out=np.full_like(hits, np.nan), where=decided_and_true > 0)


def mean_of_defined(values_RC: np.ndarray) -> np.ndarray:
    """The mean over names that are not NaN [R]; NaN where none is left."""
    defined_RC = ~np.isnan(values_RC)
    count_R = defined_RC.sum(1)
    total_R = np.where(defined_RC, values_RC, 0.0).sum(1)
    return np.divide(total_R, count_R, out=np.full(len(values_RC), np.nan), where=count_R > 0)
