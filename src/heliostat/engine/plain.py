"""One worker in fp32 with nothing to divide: torch itself, behind the few methods of a DeepSpeed engine that the loop uses.

DeepSpeed pays for partitions, buckets and loss scales at every step; with one worker there is nothing it could save.
"""

from __future__ import annotations

from typing import Any


class PlainEngine:
    """`module` and `optimizer` with gradient accumulation and clipping; `backward` divides by `accumulation`, as DeepSpeed does."""

    def __init__(self, module: Any, optimizer: Any, *, accumulation: int, clip: float | None):
        self.module, self.optimizer = module, optimizer
        self.accumulation, self.clip = accumulation, clip
        self._trained = [p for group in optimizer.param_groups for p in group["params"]]
        self._passes = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    @property
    def training(self) -> bool:
        return self.module.training

    def train(self, mode: bool = True) -> None:
        self.module.train(mode)

    def eval(self) -> None:
        self.module.eval()

    def backward(self, loss: Any) -> None:
        """Add the gradient of one forward pass."""
        (loss / self.accumulation if self.accumulation > 1 else loss).backward()

    def step(self) -> None:
        """After the last forward pass of an update: clip, move the weights, forget the gradient."""
        import torch

        self._passes += 1
        if self._passes % self.accumulation:
            return
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self._trained, self.clip, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def destroy(self) -> None:
        """Let go of weights and optimiser state."""
        self.module = self.optimizer = None
        self._trained = []
