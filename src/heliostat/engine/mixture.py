"""A linear module with several low-rank experts whose shares are learned (see train/adapters/mixture.py).

Shapes: E experts, R rank, I inputs, O outputs.
"""

from __future__ import annotations

import math

import torch
from transformers.pytorch_utils import Conv1D


class Mixed(torch.nn.Module):
    """`base(x)` and the shared sum of the experts' low-rank products of x; `base` is frozen."""

    def __init__(self, base: torch.nn.Module, *, experts: int, r: int, scale: float, noise: float):
        super().__init__()
        self.base, self.scale, self.noise = base, scale, noise
        weight_OI = self._weight()
        outputs, inputs = weight_OI.shape
        self.down_ERI = torch.nn.Parameter(torch.empty(experts, r, inputs, dtype=weight_OI.dtype, device=weight_OI.device))
        for one in self.down_ERI:
            torch.nn.init.kaiming_uniform_(one, a=math.sqrt(5))
        self.up_EOR = torch.nn.Parameter(torch.zeros(experts, outputs, r, dtype=weight_OI.dtype, device=weight_OI.device))
        self.logits_E = torch.nn.Parameter(torch.zeros(experts, dtype=weight_OI.dtype, device=weight_OI.device))

    def _weight(self) -> torch.Tensor:
        weight = self.base.weight
        assert isinstance(weight, torch.Tensor)
        return weight.T if isinstance(self.base, Conv1D) else weight

    def shares(self) -> torch.Tensor:
        """What each expert counts for, [E]."""
        logits_E = self.logits_E.float()
        if self.training and self.noise:
            gumbel_E = -torch.log(-torch.log(torch.rand_like(logits_E).clamp(1e-6, 1 - 1e-6)))
            logits_E = logits_E + self.noise * gumbel_E
        return logits_E.softmax(0).to(self.logits_E.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        down_XR = torch.nn.functional.linear(x, self.down_ERI.flatten(0, 1))  # all experts in one product
        shared_XR = down_XR * self.shares().repeat_interleave(self.down_ERI.shape[1])
        up = self.up_EOR.transpose(0, 1).flatten(1)
        return self.base(x) + self.scale * torch.nn.functional.linear(shared_XR, up)

    def folded(self) -> torch.nn.Module:
        """The base module with the experts in its weight."""
        with torch.no_grad():
            share_E = self.logits_E.float().softmax(0)
            update_OI = torch.einsum("e,eor,eri->oi", share_E, self.up_EOR.float(), self.down_ERI.float()) * self.scale
            self._weight().add_(update_OI.to(self._weight().dtype))
        return self.base
