"""Where and how wide a run is: workers, devices, ZeRO stage, paths. A layout never bears identity.

Lives in `cluster/<place>/layout.yaml`. The same config gives the same result on any layout, to float tolerance.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from heliostat.core.errors import UserError
from heliostat.core.settings import Settings, load


class Layout(Settings):
    """One place to run."""

    address: str | None = None
    """Ray cluster to join: None starts a local one, "auto" joins the one on this machine, or ray://host:10001."""
    workers: int = Field(1, ge=1, le=4096)
    """Ray Train workers of one training (the world size)."""
    cpus_per_worker: float = Field(1, gt=0)
    """CPUs each worker reserves; also its torch threads."""
    gpus_per_worker: float = Field(0, ge=0)
    """GPUs each worker reserves."""
    gangs: int | Literal["auto"] = "auto"
    """Trainings side by side in a sweep; "auto" is as many as the cluster holds."""
    zero: Literal[0, 1, 2, 3] = 0
    """DeepSpeed ZeRO stage."""
    offload: Literal["none", "optimizer"] = "none"
    """Keep optimiser states in CPU memory (ZeRO 1 to 3, needs a GPU)."""
    micro_batch: int | None = Field(None, ge=1)
    """Rows per worker and forward pass; None lets the whole share of the global batch go at once."""
    local_cpus: int | None = Field(None, ge=1)
    """CPUs a local cluster may use; None is every core."""
    storage: str = "runs"
    """Folder (local or shared by all nodes) under which run directories are made."""

    def check_batch(self, batch: int) -> list[str]:
        """Why a global batch of `batch` rows cannot be dealt to this layout; empty when it can."""
        if batch % self.workers:
            lower = batch - batch % self.workers
            hint = f"{lower} or {lower + self.workers}" if lower else f"{self.workers}"
            return [f"train.batch: {batch} rows do not divide among {self.workers} workers. Nearest batches that do: {hint}."]
        share = batch // self.workers
        if self.micro_batch and share % self.micro_batch and share > self.micro_batch:
            fits = ", ".join(str(m) for m in range(1, share + 1) if share % m == 0)
            return [f"layout.micro_batch: {self.micro_batch} does not divide the {share} rows of a worker's share. Allowed: {fits}."]
        return []

    def micro_rows(self, batch: int) -> int:
        """Rows per worker and forward pass for a global batch."""
        share = batch // self.workers
        return min(share, self.micro_batch or share)

    def accumulation(self, batch: int) -> int:
        """Forward passes per update."""
        return batch // self.workers // self.micro_rows(batch)


def read_layout(place: str | None, assignments: list[str] | None = None) -> Layout:
    """The layout in folder or file `place`; None is the built-in laptop."""
    if place is None:
        return Layout()
    path = Path(place)
    path = path / "layout.yaml" if path.is_dir() else path
    if not path.exists():
        known = sorted(str(p.parent) for p in Path("cluster").glob("*/layout.yaml"))
        raise UserError(f"--cluster '{place}' holds no layout.yaml. Known here: {', '.join(known) or '(none)'}.")
    return load(Layout, path, assignments or [])
