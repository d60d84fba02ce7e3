"""Share of the spans found that are there with exactly these words and this type."""

from __future__ import annotations

import numpy as np

from heliostat.metrics._confusion import ratio
from heliostat.metrics._spans import SpanCounts, SpanMetric


class SpanPrecision(SpanMetric):
    """Share of the spans found that are right."""

    def of(self, counts: SpanCounts) -> np.ndarray:
        return ratio(counts.hits_R, counts.predicted_R)
