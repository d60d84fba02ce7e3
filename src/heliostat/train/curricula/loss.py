"""What a reference model finds easy first (Hacohen and Weinshall, 2019, arXiv:1904.03626: transfer scoring)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from heliostat.core.errors import UserError
from heliostat.train.curricula.base import Base


class Loss(Base):
    """Rows with a small loss under a reference model first."""

    needs_losses: ClassVar[bool] = True

    def keys(self, rows: Any, losses_N: np.ndarray | None) -> np.ndarray:
        if losses_N is None:
            raise UserError("curriculum: 'loss' needs the loss of every row under a reference model, and none was given.")
        if len(losses_N) != len(rows.lengths_N):
            raise UserError(f"curriculum: {len(losses_N)} losses of a reference model for {len(rows.lengths_N)} rows; each row needs one.")
        return np.asarray(losses_N, dtype=np.float64)
