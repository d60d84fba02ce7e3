"""What a reference model finds easy first (Hacohen and Weinshall, 2019, arXiv:1904.03626: transfer scoring)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from heliostat.core.errors import UserError
from heliostat.core.provenance import content_fingerprint
from heliostat.train.curricula.base import Base


class Loss(Base):
    """Rows with a small loss under a reference model first."""

    needs_losses: ClassVar[bool] = True

    model: str = ""
    """Folder of the reference model: one that an earlier run exported for the same task."""

    def identity(self) -> dict[str, Any]:
        folder = Path(self.model)
        return {**super().identity(), "model": content_fingerprint([folder / "config.json", *sorted(folder.glob("*.safetensors"))])}

    def problems(self, task: Any) -> list[str]:
        if not (Path(self.model) / "config.json").is_file():
            return [f"model: '{self.model}' is not a model folder. Give one that an earlier run exported, such as runs/NAME/train/model."]
        if task.answers_are in ("labels", "likelihood"):
            return []
        return [f"loss cannot be asked of a model that answers with {task.answers_are}. Use length or column."]

    def keys(self, rows: Any, losses_N: np.ndarray | None) -> np.ndarray:
        if losses_N is None:
            raise UserError("curriculum: 'loss' needs the loss of every row under a reference model, and none was given.")
        if len(losses_N) != len(rows.lengths_N):
            raise UserError(f"curriculum: {len(losses_N)} losses of a reference model for {len(rows.lengths_N)} rows; each row needs one.")
        return np.asarray(losses_N, dtype=np.float64)
