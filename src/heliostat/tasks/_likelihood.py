"""What tasks share that predict tokens: the units of their loss, and what is kept of an answer.

Shapes: B rows of a batch, K places of a row that are looked at, U places that have a target, V words.
"""

from __future__ import annotations

from typing import Any

from heliostat.tasks.base import IGNORED


def targets(labels_BK: Any) -> dict[str, Any]:
    """`labels` of a batch, and `told` [U]: which of all places have a target. Made where the batch is, for a GPU would be waited for."""
    return {"labels": labels_BK, "told": (labels_BK.reshape(-1) != IGNORED).nonzero()[:, 0]}


def units(logits_BKV: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Places that have a target, taken out before anything is counted in float32: `logits` [U, V], `labels` [U], `weight` [U].

    A place weighs what its row weighs, times its `stands_for` [B, K] where a batch has it.
    """
    labels_BK, told_U = batch["labels"], batch["told"]
    weight_BK = batch["weight"][:, None].expand(labels_BK.shape)
    weight_BK = weight_BK * batch["stands_for"] if "stands_for" in batch else weight_BK
    flat = {"logits": logits_BKV.flatten(0, 1), "labels": labels_BK.reshape(-1), "weight": weight_BK.reshape(-1)}
    return flat if len(told_U) == labels_BK.numel() else {name: values.index_select(0, told_U) for name, values in flat.items()}


def answers(logits_BKV: Any, batch: dict[str, Any]) -> Any:
    """Sum of log-losses, number of targets, and UTF-8 bytes they stand for (0 when that is not known) [B, 3]; one row at a time,
    for one row's logits in float32 are many."""
    import torch

    lost, counts = [], []
    for logits_KV, labels_K in zip(logits_BKV, batch["labels"], strict=True):
        has_K = labels_K != IGNORED
        logits_UV, labels_U = logits_KV[has_K].float(), labels_K[has_K]
        right_U = logits_UV.gather(1, labels_U[:, None])[:, 0]
        lost.append((torch.logsumexp(logits_UV, 1) - right_U).sum())
        counts.append(has_K.sum())
    lost_B, count_B = torch.stack(lost), torch.stack(counts).to(torch.float32)
    return torch.stack([lost_B, count_B, batch["bytes"].to(lost_B) if "bytes" in batch else torch.zeros_like(lost_B)], 1)
