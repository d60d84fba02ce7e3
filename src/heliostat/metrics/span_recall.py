"""Share of the spans there are that were found with exactly these words and this type."""

from __future__ import annotations

import numpy as np

from heliostat.metrics._confusion import ratio
from heliostat.metrics._spans import SpanCounts, SpanMetric


class SpanRecall(SpanMetric):
    """Share of the spans there are that were found."""

    def of(self, counts: SpanCounts) -> np.ndarray:
        return ratio(counts.hits_R, counts.actual_R)
