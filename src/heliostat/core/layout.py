"""Where and how wide a run is: workers, devices, ZeRO stage, paths. A layout never bears identity.

Lives in `cluster/<place>/layout.yaml`. The same config gives the same result on any layout, to float tolerance.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from heliostat.core.errors import UserError, nearest
from heliostat.core.settings import Settings, load

ROUNDING = 1e-9
"""1 / 0.1 is a little less than 10 in floating point."""


class Layout(Settings):
    """One place to run."""

    address: str | None = None
    """Ray cluster to join: None starts a local one, "auto" joins the one on this machine, or ray://host:10001."""
    workers: int = Field(1, ge=1, le=4096)
    """Ray Train workers of one training (the world size)."""
    least_workers: int | None = Field(None, ge=1)
    """Fewest workers that a training starts with, and goes on with when a node is lost; None is all of `workers`."""
    cpus_per_worker: float = Field(1, gt=0)
    """CPUs each worker reserves; also its torch threads."""
    gpus_per_worker: float = Field(0, ge=0)
    """GPUs each worker reserves: one, or for a training's only worker a part of one."""
    gangs: int | Literal["auto"] = "auto"
    """Trainings side by side in a sweep; "auto" is as many as the cluster holds."""
    zero: Literal["auto", 0, 1, 2, 3] = "auto"
    """ZeRO stage; "auto" is the first whose weights, gradients and optimiser states fill at most 60 % of a worker's memory."""
    memory_gb: float | None = Field(None, gt=0)
    """GiB that one worker has, for `zero: auto`; None asks its GPU, or takes its share of the machine's."""
    frozen_gb: float = Field(8, ge=0)
    """GiB on each node for what the layers that `train.freeze` leaves alone give for a row: it is then computed once, and not in every
    epoch and trial. 0 computes it at every pass."""
    offload: Literal["none", "optimizer", "parameters"] = "none"
    """Keep optimiser states in CPU memory (ZeRO 1 to 3, needs a GPU); with "parameters" the weights too, but for those that are computed
    with (ZeRO 3): the whole model is on the GPU when a training begins, and then no more."""
    compile: bool = False
    """Compile the layers of the model for the GPU (torch.compile): the first updates take longer, and the others less time each.
    Not where ZeRO 3 parts the weights."""
    micro_batch: int | None = Field(None, ge=1)
    """Rows per worker and forward pass; None lets the whole share of the global batch go at once. What does not fit into memory is
    halved by itself, and the updates stay the same."""
    local_cpus: int | None = Field(None, ge=1)
    """CPUs a local cluster may use; None is every core."""
    cost_per_hour: float | None = Field(None, ge=0)
    """Price of the whole cluster for an hour, in any currency; None is not known."""
    hang_s: float | None = Field(600, gt=0)
    """Seconds without any progress after which the workers of a training are started again; None waits for ever. A model that is being
    opened, or downloaded, has two hours before that."""
    grace_s: float = Field(25, ge=0)
    """Seconds that a training has for its last update and its checkpoint when the run is interrupted."""
    storage: str = "runs"
    """Folder (local or shared by all nodes) under which run directories are made."""

    @field_validator("gangs", mode="before")
    @classmethod
    def _number_or_auto(cls, value: Any) -> Any:
        if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
            return value
        raise ValueError("it must be a whole number from 1, or auto")

    @field_validator("least_workers")
    @classmethod
    def _not_above_workers(cls, value: int | None, info: ValidationInfo) -> int | None:
        most = info.data.get("workers")
        if value is not None and most is not None and value > most:
            raise ValueError(f"it must be at most workers, which is {most}")
        return value

    def fewest(self) -> int:
        """Workers without which no training begins."""
        return self.least_workers or self.workers

    def is_elastic(self) -> bool:
        """Whether a training may have fewer workers than `workers`."""
        return self.fewest() < self.workers

    def workers_of_each(self, fits: int, trainings: int) -> int:
        """Workers each of so many trainings may have side by side, where `fits` workers fit in all."""
        return min(self.workers, max(self.fewest(), fits // max(1, trainings)))

    def parts_weights(self) -> bool:
        """Whether no worker has whole weights, whatever would fit."""
        return self.zero == 3 or self.offload == "parameters"

    def joins(self) -> str | None:
        """Address of the cluster that is joined, in a Ray job the one it runs on; None when a local one is started."""
        return self.address or os.environ.get("RAY_ADDRESS") or None

    def training_cpus(self) -> int:
        """CPUs a local cluster gives to training."""
        return self.local_cpus or len(os.sched_getaffinity(0))

    def trainings_on(self, cpus: float, gpus: float | None = None) -> int:
        """Trainings that fit side by side on one machine; `gpus` None is not known."""
        return self.workers_on(cpus, gpus) // self.fewest()

    def workers_on(self, cpus: float, gpus: float | None) -> int:
        """Workers that fit on one machine; `gpus` None is not known. A part of a GPU is a part of one and the same."""
        workers, share = math.floor(cpus / self.cpus_per_worker + ROUNDING), self.gpus_per_worker
        if share and gpus is not None:
            on_gpus = math.floor(gpus / share + ROUNDING) if share >= 1 else math.floor(1 / share + ROUNDING) * math.floor(gpus)
            workers = min(workers, on_gpus)
        return workers

    def check_room(self) -> list[str]:
        """Why a local cluster on this machine cannot hold a training; empty when it can. A cluster that is joined is asked then."""
        if self.joins():
            return []
        cpus, gpus = self.training_cpus(), local_gpus()
        fits, each = self.trainings_on(cpus, gpus), f"{self.fewest()} worker{'s' if self.fewest() > 1 else ''}"
        problems = []
        if self.fewest() * self.cpus_per_worker > cpus:
            lower = ("least_workers" if self.least_workers else "workers") if self.cpus_per_worker <= cpus else "cpus_per_worker"
            why = "layout.local_cpus allows" if self.local_cpus else "this machine has"
            problems.append(
                f"layout.{lower}: one training asks for {each} x {self.cpus_per_worker:g} CPU, and {why} {cpus}."
                f" Lower layout.{lower}, or name a cluster in layout.address."
            )
        if self.gpus_per_worker and gpus is not None and self.fewest() * self.gpus_per_worker > gpus:
            problems.append(
                f"layout.gpus_per_worker: one training asks for {each} x {self.gpus_per_worker:g} GPU, and this machine has {gpus}."
                " Use 0 to train on CPUs, or name a cluster in layout.address."
            )
        if not problems and self.gangs != "auto" and self.gangs > fits:
            problems.append(f"layout.gangs: {self.gangs} side by side asked for; this machine holds {fits}. Allowed: 1 to {fits}, or auto.")
        return problems

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
        """Rows per worker and forward pass for a global batch; fewer workers than `workers` make more passes of so many."""
        share = batch // self.workers
        return min(share, self.micro_batch or share)

    def accumulation(self, batch: int) -> int:
        """Forward passes per update when all `workers` are there."""
        return passes(batch, self.workers, self.micro_rows(batch))


def passes(batch: int, world: int, rows: int) -> int:
    """Forward passes per worker and update: `batch` rows dealt to `world` workers, at most `rows` in a pass."""
    share = -(-batch // world)
    return -(-share // rows)


def local_gpus() -> int | None:
    """GPUs of this machine, as far as files tell without importing torch; None when there may be some of another maker."""
    there = len(list(Path("/dev").glob("nvidia[0-9]*")))
    if not there:
        return None if any(Path("/dev", name).exists() for name in ("kfd", "dxg", "dri")) else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return there if visible is None else len([name for name in visible.split(",") if name.strip() not in ("", "-1")])


def read_layout(place: str | None, assignments: list[str] | None = None) -> Layout:
    """The layout in folder or file `place`; None is the built-in laptop."""
    if place is None:
        return Layout()
    path = Path(place)
    path = path / "layout.yaml" if path.is_dir() else path
    if not path.exists():
        known = sorted(str(p.parent) for p in Path("cluster").glob("*/layout.yaml"))
        close = nearest(place, known)
        hint = f" Did you mean '{close}'?" if close else ""
        raise UserError(f"--cluster '{place}' holds no layout.yaml.{hint} Known here: {', '.join(known) or '(none)'}.")
    return load(Layout, path, assignments or [])
