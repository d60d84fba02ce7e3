"""Who makes the updates: DeepSpeed, with a config from the layout, or torch alone; and whole weights out of partitions.

The learning rate is set by our loop, so DeepSpeed gets no scheduler; checkpoints are ours (`states.py`), so its own are not used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from heliostat.engine.rates import LR_SCALE, Part

BUCKET = 50_000_000
"""Elements that are reduced or gathered at once."""


@dataclass(frozen=True)
class ZeroPlan:
    """What DeepSpeed needs to know about one training."""

    stage: int
    offload: str
    precision: str
    clip: float | None
    micro_rows: int
    accumulation: int
    world: int
    device: str = "cpu"

    def is_torchs(self) -> bool:
        """Whether torch alone is faster: whole weights, and one worker in fp32 or bf16, or several on CPUs in fp32."""
        whole = self.stage < 3 and self.offload == "none"
        return whole and (self.precision in ("fp32", "bf16") if self.world == 1 else self.precision == "fp32" and self.device == "cpu")

    def config(self) -> dict[str, Any]:
        """The dictionary `deepspeed.initialize` takes."""
        stage: dict[str, Any] = {"stage": self.stage}
        if self.stage:
            stage |= {"overlap_comm": False, "contiguous_gradients": True, "reduce_bucket_size": BUCKET, "allgather_bucket_size": BUCKET}
        if self.stage == 3:
            stage |= {"stage3_param_persistence_threshold": 10_000, "stage3_prefetch_bucket_size": 5_000_000}
        if self.offload != "none":
            stage["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
        if self.offload == "parameters":
            stage["offload_param"] = {"device": "cpu", "pin_memory": True}
        return {
            "train_batch_size": self.micro_rows * self.accumulation * self.world,
            "train_micro_batch_size_per_gpu": self.micro_rows,
            "gradient_accumulation_steps": self.accumulation,
            "gradient_clipping": self.clip or 0.0,
            "zero_optimization": stage,
            "bf16": {"enabled": self.precision == "bf16"},
            "fp16": {"enabled": self.precision == "fp16"},
            "zero_force_ds_cpu_optimizer": False,
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 1 << 30,
            "wall_clock_breakdown": False,
            "dump_state": False,
        }


def start(module: Any, optimizer: Any, plan: ZeroPlan) -> Any:
    """An engine over `module`: torch alone where that is faster, else DeepSpeed's. With several workers their process group must exist."""
    if plan.is_torchs():
        return _torchs(module, optimizer, plan)
    deepspeed, config = _deepspeed(), plan.config()
    if plan.stage == 3:
        deepspeed.init_distributed()  # it counts the workers of the group that there is
        _part(module, plan, partial(deepspeed.zero.Init, config_dict_or_path=config))
    engine, *_ = deepspeed.initialize(model=module, optimizer=optimizer, config=config)
    _forget_rehearsal(engine.optimizer)
    _leave_overflows_to_the_loop(engine.optimizer)
    narrow_statistics(module)
    return engine


def _torchs(module: Any, optimizer: Any, plan: ZeroPlan) -> Any:
    """An engine of torch alone."""
    from heliostat.engine.divided import DividedEngine
    from heliostat.engine.plain import MixedEngine, PlainEngine

    update: dict[str, Any] = {"accumulation": plan.accumulation, "clip": plan.clip}
    if plan.world > 1:
        return DividedEngine(module, optimizer, stage=plan.stage, **update)
    engine = (MixedEngine if plan.precision == "bf16" else PlainEngine)(module, optimizer, **update)
    if plan.precision == "bf16":
        narrow_statistics(module)
    return engine


def _part(module: Any, plan: ZeroPlan, init: Callable[..., Any]) -> None:
    """Give every worker its part of one parameter after another, from CPU memory and in as few bits as they have then: left to itself,
    DeepSpeed has the whole module on every device first, which may not fit."""
    import torch

    fewer = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(plan.precision)
    for p in module.parameters():
        if fewer is not None and p.is_floating_point():
            p.data = p.data.to(fewer)
    init(module=module)
    for part in module.modules():
        for name, buffer in part.named_buffers(recurse=False):
            part.register_buffer(name, buffer.to(plan.device), persistent=name not in part._non_persistent_buffers_set)


def narrow_statistics(module: Any) -> None:
    """Batch normalisation's statistics as precise as its weights, in place: buffers are left alone, and torch wants both alike."""
    import torch

    for part in module.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm) and part.weight is not None and part.running_mean is not None:
            part.running_mean = part.running_mean.to(part.weight.dtype)
            part.running_var = part.running_var.to(part.weight.dtype)


def _forget_rehearsal(optimizer: Any) -> None:
    """With 16 bits and ZeRO 0 DeepSpeed makes an update without gradients to allocate states: it counts as a step and decays weights."""
    if hasattr(optimizer, "fp32_groups"):
        optimizer.refresh_fp32_params()
        optimizer.optimizer.state.clear()


def _leave_overflows_to_the_loop(optimizer: Any) -> None:
    """With ZeRO 1 to 3 DeepSpeed raises an error of its own when the loss scale cannot fall any more, and with ZeRO 0 it goes on."""
    scaler: Any = getattr(optimizer, "loss_scaler", None)
    if hasattr(scaler, "raise_error_at_min_scale"):
        scaler.raise_error_at_min_scale = False


def _deepspeed() -> Any:
    """DeepSpeed; on CPUs without its shared-memory collective, which needs a compiler on every node."""
    import os

    import deepspeed

    if os.environ.get("DS_ACCELERATOR") == "cpu":
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def parameter_groups(module: Any, parts: Sequence[Part] = ()) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: matrices decay, biases and norms do not. With `parts` in two groups for each of them, with
    its share of the learning rate."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = []
    for share, ids in parts or [(1.0, {id(p) for p in trainable})]:
        own = [p for p in trainable if id(p) in ids]
        rate = {LR_SCALE: share} if parts else {}
        groups += [{"params": [p for p in own if (p.ndim >= 2) == decay], "decay": decay, **rate} for decay in (True, False)]
    return [group for group in groups if group["params"]]


def whole_weights(module: Any, rank: int) -> dict[str, Any] | None:
    """CPU fp32 copies of trainable parameters by name, on rank 0 (None elsewhere); every rank must call it."""
    import torch

    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    if any(hasattr(p, "ds_id") for _, p in named):
        import deepspeed

        with deepspeed.zero.GatheredParameters([p for _, p in named]):
            return _copies(named) if rank == 0 else None
    with torch.no_grad():
        return _copies(named) if rank == 0 else None


def _copies(named: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: p.detach().to("cpu", copy=True).float().contiguous() for name, p in named}
