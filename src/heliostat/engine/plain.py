"""One worker in fp32 or bf16: torch itself, behind the few methods of a DeepSpeed engine that the loop uses.

DeepSpeed pays for partitions, buckets and loss scales at every step; with one worker there is nothing it could save.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SUMMED = 65_536
"""Squares that are added in one go: on CPUs the norm of millions of float32 at once is off in the fourth digit (torch 2.13)."""


def norm(gradients: Sequence[Any]) -> Any:
    """The L2 norm of all gradients."""
    import torch

    pieces = [piece for g in gradients for piece in (g.reshape(-1).split(SUMMED) if g.device.type == "cpu" else (g,))]
    return torch.nn.utils.get_total_norm(pieces, foreach=True)


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
        self._passes += 1
        if self._passes % self.accumulation == 0:
            self._update()

    def _update(self) -> None:
        if self.clip is not None:
            self._clip(self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _clip(self, most: float) -> None:
        """Scale the gradients so that the norm of all of them is at most `most`."""
        import torch

        gradients = [p.grad for p in self._trained if p.grad is not None]
        torch.nn.utils.clip_grads_with_norm_(self._trained, most, norm(gradients), foreach=True)

    def destroy(self) -> None:
        """Let go of weights and optimiser state."""
        self.module = self.optimizer = None
        self._trained = []


class MixedEngine(PlainEngine):
    """`PlainEngine` that computes in bf16: the weights have 16 bits, and gradients are added up and updates made in fp32 copies of them.

    bf16 has the range of fp32, so no loss is scaled. The optimiser must not have made an update yet: its parameters become the copies.
    """

    def __init__(self, module: Any, optimizer: Any, *, accumulation: int, clip: float | None):
        import torch

        kept = {id(p): torch.nn.Parameter(p.detach().clone()) for group in optimizer.param_groups for p in group["params"]}
        self.copies = [(p, kept[id(p)]) for p in module.parameters() if id(p) in kept]
        """Each trained parameter, in bf16, with its copy in fp32."""
        for group in optimizer.param_groups:
            group["params"] = [kept[id(p)] for p in group["params"]]
        for p in module.parameters():
            if p.is_floating_point():
                p.data = p.data.to(torch.bfloat16)
        super().__init__(module, optimizer, accumulation=accumulation, clip=clip)

    def backward(self, loss: Any) -> None:
        """Add the gradient of one forward pass to that of the copies."""
        super().backward(loss)
        for p, copy in self.copies:
            if p.grad is not None:
                copy.grad = p.grad.float() if copy.grad is None else copy.grad.add_(p.grad)
                p.grad = None

    def _update(self) -> None:
        import torch

        super()._update()
        with torch.no_grad():
            torch._foreach_copy_([p for p, _ in self.copies], [copy for _, copy in self.copies])

    def destroy(self) -> None:
        """Let go of weights and optimiser state."""
        super().destroy()
        self.copies = []
