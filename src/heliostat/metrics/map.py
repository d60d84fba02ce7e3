"""Mean average precision: how well each name ranks the rows, whatever the threshold.

Average precision is the sum over thresholds of (recall gained) x precision, rows of equal score passing a threshold
together (Manning, Raghavan, Schütze, "Introduction to Information Retrieval", 8.4; scikit-learn's `average_precision_score`).
"""

from __future__ import annotations

import numpy as np

from heliostat.metrics._confusion import ratio
from heliostat.metrics._names import mean_of_defined
from heliostat.metrics.base import Base


class Map(Base):
    """Mean over labels of the average precision of its ranking of the rows; a label without rows is left out."""

    mode = "max"
    judges = "names"

    def weighted(self, logits_NC: np.ndarray, targets_NC: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
        columns = range(logits_NC.shape[1])
        return mean_of_defined(np.stack([_average_precision(logits_NC[:, c], targets_NC[:, c] > 0, weights_RN) for c in columns], axis=1))


def _average_precision(score_N: np.ndarray, positive_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
    """Weighted average precision [R] of one name; NaN where no row has it."""
    order_N = np.argsort(-score_N, kind="stable")
    ends_G = np.append(np.flatnonzero(np.diff(score_N[order_N])), len(order_N) - 1)  # last row of each group of equal scores
    sorted_RN = weights_RN[:, order_N]
    passed_RG = np.cumsum(sorted_RN, axis=1)[:, ends_G]
    found_RG = np.cumsum(sorted_RN * positive_N[order_N], axis=1)[:, ends_G]
    total_R = found_RG[:, -1]
    area_R = (np.diff(found_RG, axis=1, prepend=0.0) * ratio(found_RG, passed_RG)).sum(1)
    return np.divide(area_R, total_R, out=np.full_like(area_R, np.nan), where=total_R > 0)
