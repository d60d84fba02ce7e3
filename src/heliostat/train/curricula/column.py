"""By a number that comes with the corpus."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from heliostat.core.errors import UserError
from heliostat.train.curricula.base import Base


class Column(Base):
    """Rows with a small number in one of the corpus's own columns first; rows without a number come last."""

    column: str = Field("difficulty", min_length=1)
    """A column of `corpus.slices` that holds numbers."""

    def kept(self) -> str | None:
        return self.column

    def keys(self, rows: Any, losses_N: np.ndarray | None) -> np.ndarray:
        try:
            found = rows.column(self.column)
        except KeyError:
            raise UserError(
                f"curriculum.column: the rows have no column '{self.column}'. Name it in corpus.slices, so that it is kept."
            ) from None
        return np.array([_number(value, self.column) for value in found])


def _number(value: Any, column: str) -> float:
    """A slice as a number; NaN where there is none."""
    if value is None or value == "":
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(f"curriculum.column: '{column}' must hold numbers, and a row has {value!r}. Take another column.") from None
