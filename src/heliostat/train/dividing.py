"""How a training is divided among its workers: the ZeRO stages it can have, what a worker holds at each, and the cheapest that fits.

A later stage divides more and sends more: 0 keeps everything whole, 1 divides the optimiser's states, 2 the gradients too, 3 the
weights too (Rajbhandari et al., 2020). States are saved by parameter name, so a training may go on at another stage.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from heliostat.core.layout import Layout
from heliostat.core.provenance import memory_bytes
from heliostat.train.config import TrainConfig

FILLED = 0.6
"""Share of a worker's memory that weights, gradients and states may fill; activations need the rest."""


@dataclass(frozen=True)
class Footprint:
    """What a training holds, in fp32."""

    params: int
    trained: int
    """Of `params`, those with gradients and states."""
    state_bytes: int
    """The optimiser's, for each trained parameter."""
    workers: int
    offload: str = "none"
    """What of it is in CPU memory, as the layout says: nothing, the optimiser's states, or at stage 3 the weights too."""

    def at(self, stage: int) -> float:
        """Bytes one worker holds for weights, gradients and optimiser states at a ZeRO stage; activations come on top."""
        weights, gradients, states = 4.0 * self.params, 4.0 * self.trained, float(self.state_bytes * self.trained)
        if stage >= 1:
            states /= self.workers
        if stage >= 2:
            gradients /= self.workers
        if stage >= 3:
            weights = 0.0 if self.offload == "parameters" else weights / self.workers
        return weights + gradients + (states if self.offload == "none" else 0.0)

    def cheapest(self, memory: float, stages: Sequence[int]) -> int:
        """The first of `stages` that fills at most `FILLED` of so many bytes; when none does, the one that holds least."""
        if self.workers == 1:
            return stages[0]
        return next((stage for stage in stages if self.at(stage) <= FILLED * memory), stages[-1])


def stages(train: TrainConfig, offload: str, workers: int) -> tuple[int, ...]:
    """The ZeRO stages to choose from: some settings need whole weights on every worker, and in 16 bits several workers are slower
    with whole states than with divided ones, for DeepSpeed then updates one parameter after another."""
    if offload == "parameters":
        return (3,)
    whole = train.ema is not None or train.regularizer is not None or getattr(train.adapter, "base_bits", None) is not None
    most = 0 if train.optimizer.whole else 2 if whole else 3
    divided = offload != "none" or (workers > 1 and train.precision != "fp32")
    return tuple(range(int(divided), most + 1)) or (0,)


def problems(train: TrainConfig, layout: Layout) -> list[str]:
    """Why a training cannot be divided as the layout says."""
    found = []
    parting = "layout.offload parameters" if layout.offload == "parameters" else "layout.zero 3"
    instead = "Use offload optimizer or none." if layout.offload == "parameters" else "Use zero 0, 1 or 2."
    if train.ema is not None and layout.parts_weights():
        found.append(f"train.ema: the average needs whole weights on every worker, and {parting} parts them. {instead}")
    if train.regularizer is not None and layout.parts_weights():
        found.append(f"train.regularizer: it differentiates inside a pass, and {parting} parts the weights. {instead}")
    if train.optimizer.whole and (layout.zero in (1, 2, 3) or layout.offload != "none"):
        name, others = train.optimizer.name(), "adamw, lion or sgd"
        found.append(f"train.optimizer: {name} needs whole parameters, and ZeRO 1 to 3 part them. Use layout.zero 0, or {others}.")
    return found


def worker_bytes(layout: Layout, side_by_side: int = 1) -> float | None:
    """Memory of a worker when so many trainings run at once on a local cluster; None where only the cluster knows."""
    if layout.memory_gb is not None:
        return layout.memory_gb * 2**30
    if layout.joins() or layout.gpus_per_worker:
        return None
    return memory_bytes() / (layout.workers * side_by_side)


def own_bytes(memory_gb: float | None, device: str, threads: int) -> float:
    """Memory of the worker that asks: what the layout says, all of its GPU's, or as large a share of its node's as it has of the cores."""
    if memory_gb is not None:
        return memory_gb * 2**30
    if device != "cpu":
        import torch

        return float(torch.cuda.mem_get_info(device)[1])
    return memory_bytes() * min(1.0, threads / (os.cpu_count() or 1))
