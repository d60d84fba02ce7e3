"""The heads of auxiliary tasks: what they answer is taken from the same pass as the main task's, and weighed into one loss.

Learned weights are those of Kendall, Gal and Cipolla (2018): each task has a log variance s, its loss counts exp(-s) times (half of
that for a squared error), and s/2 is added, so that a task which stays uncertain counts less. Such a loss can fall below zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from heliostat.core import seeds
from heliostat.tasks.base import IGNORED
from heliostat.train.auxiliary import Auxiliary, Targets

NAME = "auxiliary"
"""Of the heads in the module, and before the names of their targets in a batch."""


class Heads(torch.nn.Module):
    """A linear head for each auxiliary task on the encoder's mean hidden state [B, D]."""

    def __init__(self, wanted: Sequence[Auxiliary], targets: dict[str, Targets], width: int, *, learned: bool, squared: bool, seed: int):
        super().__init__()
        self.wanted, self.targets, self.squared = tuple(wanted), targets, squared
        self.linear = torch.nn.ModuleList([torch.nn.Linear(width, targets[each.column].outputs) for each in wanted])
        for each, linear in zip(wanted, self.linear, strict=True):
            generator = torch.Generator().manual_seed(seeds.derive(seed, NAME, each.column))
            with torch.no_grad():
                linear.weight.normal_(0.0, 0.02, generator=generator)
                linear.bias.zero_()
        self.log_variances = torch.nn.Parameter(torch.zeros(1 + len(wanted))) if learned else None
        """Of the main task, then of the others."""
        self.latest: tuple[list[Any], Any] | None = None

    def forward(self, hidden_BTD: Any, mask_BT: Any) -> None:
        """Keep the answers to this pass, and the weights as they are in it: under ZeRO 3 parameters are whole only here."""
        mask_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTD.dtype)
        mean_BD = (hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1).clamp(min=1)
        variances = self.log_variances.float() * 1.0 if self.log_variances is not None else None
        self.latest = [linear(mean_BD).float() for linear in self.linear], variances

    def batch(self, rows: np.ndarray) -> dict[str, Any]:
        """The targets of these rows, to go into their batch."""
        return {f"{NAME}.{column}": torch.as_tensor(made.values_N[rows]) for column, made in self.targets.items()}

    def joined(self, main_B: Any, batch: dict[str, Any]) -> Any:
        """One loss per row [B] of all tasks, from the main one's losses and the answers of the latest pass."""
        assert self.latest is not None, "the heads have seen no pass"
        answers, variances = self.latest
        self.latest = None
        joined_B = _weighed(main_B, 1.0, variances, 0, squared=self.squared)
        for i, (each, answer_BC) in enumerate(zip(self.wanted, answers, strict=True), start=1):
            targets_B = batch[f"{NAME}.{each.column}"]
            squared = each.kind == "number"
            known_B = torch.isfinite(targets_B) if squared else targets_B != IGNORED
            if squared:
                loss_B = (answer_BC[:, 0] - torch.nan_to_num(targets_B)) ** 2
            else:
                loss_B = F.cross_entropy(answer_BC, targets_B, reduction="none", ignore_index=IGNORED)
            joined_B = joined_B + torch.where(known_B, _weighed(loss_B, each.weight, variances, i, squared=squared), 0.0)
        return joined_B


def _weighed(loss_B: Any, weight: float, variances: Any, task: int, *, squared: bool) -> Any:
    if variances is None:
        return weight * loss_B
    share = 0.5 if squared else 1.0
    return weight * (share * torch.exp(-variances[task]) * loss_B + 0.5 * variances[task])


def put_on(module: Any, wanted: Sequence[Auxiliary], targets: dict[str, Targets], *, learned: bool, squared: bool, seed: int) -> Heads:
    """Heads in `module`, which read what its encoder gives in every pass of training. `squared` says that the main loss is a squared
    error."""
    whole = module.get_base_model() if hasattr(module, "get_base_model") else module
    heads = Heads(wanted, targets, whole.config.hidden_size, learned=learned, squared=squared, seed=seed)
    setattr(module, NAME, heads)

    def read(_module: Any, _inputs: Any, options: dict[str, Any], output: Any) -> None:
        if module.training:
            hidden_BTD = output.last_hidden_state
            mask_BT = options.get("attention_mask")
            heads(hidden_BTD, mask_BT if mask_BT is not None else hidden_BTD.new_ones(hidden_BTD.shape[:2]))

    getattr(whole, whole.base_model_prefix).register_forward_hook(read, with_kwargs=True)
    return heads
