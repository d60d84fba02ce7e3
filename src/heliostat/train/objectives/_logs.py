"""Log-losses of classes, in float32 whatever the logits are."""

from __future__ import annotations

from typing import Any


def log_losses(logits_UC: Any, labels_U: Any, smoothing: float = 0.0) -> Any:
    """Cross-entropies [U] in float32, with so much of the target spread over all labels; logits of 16 bits are widened on the way."""
    import torch
    import torch.nn.functional as F

    if smoothing:
        return F.cross_entropy(logits_UC.float(), labels_U, reduction="none", label_smoothing=smoothing)
    return F.nll_loss(F.log_softmax(logits_UC, -1, dtype=torch.float32), labels_U, reduction="none")  # no copy of the logits in fp32
