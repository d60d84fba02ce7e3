"""An embedding of which only those rows are trained that the corpus names.

A row that no text names has no gradient, and yet an optimiser keeps moments for it and goes through it at every update: of a model
that reads a hundred languages that is most of its parameters. Here it is no parameter. It keeps its pretrained values (weight decay
would shrink them, and with them what the model knows of other texts); loss and gradients of all other rows are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional

MOST = 0.75
"""Share of the rows that are named, up to which it pays: what is trained is held beside the whole table."""


class Words(torch.nn.Module):
    """In place of `table`, an embedding of V rows of H numbers: rows `ids_N`, rising, are its parameter, the others stay as they are."""

    def __init__(self, table: torch.nn.Embedding, ids_N: torch.Tensor):
        super().__init__()
        at_V = torch.full((table.num_embeddings,), -1, dtype=torch.long)
        at_V[ids_N] = torch.arange(len(ids_N))
        weight_VH = table.weight.detach()
        self.num_embeddings, self.embedding_dim, self.padding_idx = table.num_embeddings, table.embedding_dim, table.padding_idx
        self._padding = None if table.padding_idx is None or at_V[table.padding_idx] < 0 else int(at_V[table.padding_idx])
        self.weight = torch.nn.Parameter(weight_VH[ids_N])
        self.register_buffer("at_V", at_V, persistent=False)
        self.register_buffer("rest_VH", weight_VH, persistent=False)
        self.at_V: torch.Tensor
        """Where in `weight` a row is, -1 for one that is not trained."""
        self.rest_VH: torch.Tensor
        """Pretrained values; of the rows that are trained they are not read."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        at = self.at_V[ids]
        named = functional.embedding(at.clamp(min=0), self.weight, self._padding)
        others = functional.embedding(ids, self.rest_VH).to(named.dtype)  # DeepSpeed leaves what is no parameter in fp32
        return torch.where((at >= 0)[..., None], named, others)

    def whole(self) -> torch.nn.Embedding:
        """An embedding of all rows, as they are now."""
        at_V, weight_VH = self.at_V, self.rest_VH.clone()
        weight_VH[at_V >= 0] = self.weight.detach()
        return torch.nn.Embedding(self.num_embeddings, self.embedding_dim, self.padding_idx, _weight=weight_VH)


def shrink(module: Any, ids_N: np.ndarray) -> None:
    """Train of the input embedding of `module` the rows `ids_N`, rising, alone, in place; nothing happens where that would not be the same.

    That is where the embedding is frozen, of a kind of its own, or used elsewhere too, as by a decoder that predicts words with it.
    """
    try:
        table = module.get_input_embeddings()
    except NotImplementedError:  # CANINE reads characters, and has several hashed ones
        return
    if type(table) is not torch.nn.Embedding or not table.weight.requires_grad or len(ids_N) > MOST * table.num_embeddings:
        return
    uses = sum(p is table.weight for _, p in module.named_parameters(remove_duplicate=False))
    if uses != 1 or table.max_norm is not None or table.sparse or table.scale_grad_by_freq:
        return
    _replace(module, table, Words(table, torch.from_numpy(ids_N.astype(np.int64))))


def restore(module: Any) -> None:
    """Make whole embeddings of shrunk ones, in place: no other program knows of them."""
    for part in list(_shrunk(module)):
        _replace(module, part, part.whole())


def untrained(module: Any) -> int:
    """Elements of embeddings that are no parameters."""
    return sum(part.rest_VH.numel() - part.weight.numel() for part in _shrunk(module))


def _shrunk(module: Any) -> Iterator[Words]:
    return (part for part in module.modules() if isinstance(part, Words))


def _replace(module: Any, part: Any, new: Any) -> None:
    for owner in module.modules():
        for name, child in list(owner.named_children()):
            if child is part:
                setattr(owner, name, new)
