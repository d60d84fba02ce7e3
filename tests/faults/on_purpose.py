"""An objective that goes wrong on purpose, on one rank of a gang, when so many forward passes were made."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, Literal

from heliostat.train.objectives.base import Base

passes = 0
"""Forward passes of this process."""


class OnPurpose(Base):
    """Cross-entropy until the fault shows."""

    fault: Literal["none", "slow", "exception", "memory", "die", "hang"] = "none"
    """What goes wrong."""
    marks: str = "."
    """Folder in which every fault leaves a file."""
    rank: int = 0
    """The rank on which it does."""
    after: int = 0
    """Forward passes of a process before it does."""
    rows: int = 0
    """It does in forward passes of more rows than these."""
    times: int = 1000
    """How often at most, in all processes together."""
    pause_s: float = 0.0
    """Seconds that each forward pass takes longer."""
    hurry: str = ""
    """A file: once it is there, no pass takes longer."""

    def per_unit(self, units: dict[str, Any]) -> Any:
        import torch.nn.functional as F

        global passes
        passes += 1
        time.sleep(0.0 if self.hurry and Path(self.hurry).exists() else self.pause_s)
        if self.fault != "none" and self._is_due(len(units["labels"])):
            self._fail()
        return F.cross_entropy(units["logits"].float(), units["labels"], reduction="none")

    def _is_due(self, rows: int) -> bool:
        import torch.distributed as dist

        mine = not dist.is_initialized() or dist.get_rank() == self.rank
        return mine and passes > self.after and rows > self.rows and len(list(Path(self.marks).iterdir())) < self.times

    def _fail(self) -> None:
        import torch

        Path(self.marks, f"{os.getpid()}-{passes}").touch()
        if self.fault == "exception":
            raise KeyError("a fault on purpose")
        if self.fault == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB (on purpose)")
        if self.fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "hang":
            threading.Event().wait()
