"""Short rows first."""

from __future__ import annotations

from typing import Any

import numpy as np

from heliostat.train.curricula.base import Base


class Length(Base):
    """Short rows first: the tokens of a row say how hard it is."""

    def problems(self, task: Any) -> list[str]:
        if task.reads == "text":
            return []
        return [f"it counts tokens, and a row of {task.name()} holds none. Use a curriculum by loss or by a column."]

    def keys(self, rows: Any, losses_N: np.ndarray | None) -> np.ndarray:
        return np.asarray(rows.lengths_N, dtype=np.float64)
