"""Whether two models differ by more than chance on the same rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

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
    """Exact two-sided McNemar test on two boolean arrays [rows] (McNemar 1947; the exact form is a sign test)."""
    only_first = int(np.sum(first_right & ~second_right))
    only_second = int(np.sum(second_right & ~first_right))
    return Paired(only_first, only_second, sign_test(min(only_first, only_second), only_first + only_second))


def sign_test(fewer: int, n: int) -> float:
    """Two-sided probability that `n` fair coins split at least as unevenly as `fewer` to the rest."""
    if n == 0:
        return 1.0
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2) for i in range(fewer + 1)]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))
