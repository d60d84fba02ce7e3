"""F1 of spans with exact boundaries and type (conlleval)."""

from __future__ import annotations

import numpy as np

from heliostat.metrics._confusion import ratio
from heliostat.metrics._spans import SpanCounts, SpanMetric


class SpanF1(SpanMetric):
    """F1 of spans: the harmonic mean of how many of those found are right and how many of those there are were found."""

    def of(self, counts: SpanCounts) -> np.ndarray:
        return ratio(2 * counts.hits_R, counts.predicted_R + counts.actual_R)
