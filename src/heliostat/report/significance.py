"""Whether two models differ by more than chance on the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heliostat.metrics._intervals import mcnemar as p_of_mcnemar

LEVEL = 0.05


@dataclass(frozen=True)
class Paired:
    """Two models on the same rows."""

    only_first: int
    """Rows only the first got right."""
    only_second: int
    """Rows only the second got right."""
    p: float
    """Probability of a split at least this uneven if both were equally good."""

    @property
    def significant(self) -> bool:
        return self.p < LEVEL


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> Paired:
    """The exact two-sided McNemar test on two boolean arrays [rows]."""
    only_first, only_second = int(np.sum(first_right & ~second_right)), int(np.sum(second_right & ~first_right))
    return Paired(only_first, only_second, p_of_mcnemar(first_right, second_right))
