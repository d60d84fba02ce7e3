"""What tasks with one token sequence per row share: padding, the encoder's inputs, mean-pooled embeddings, names of outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MIX_PADDING = ("fnet", "xlnet")
"""Kinds of models whose answer about a row depends on padding, whatever the mask says (Fourier transforms; positions from the end)."""
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def padded(rows: list[Any], fill: int) -> Any:
    """Rows of whole numbers as one int64 tensor [B, longest], filled at the end."""
    import numpy as np
    import torch

    lengths = [len(row) for row in rows]
    out_BT = np.full((len(rows), max(lengths)), fill, dtype=np.int64)
    for i, row in enumerate(rows):
        out_BT[i, : lengths[i]] = row
    return torch.from_numpy(out_BT)


def spans(tokens: int, most: int, overlap: int = 0) -> list[range]:
    """Places of consecutive pieces of at most `most` of so many tokens, one at least; a later one begins `overlap` before the last ends."""
    return [range(start, min(start + most, tokens)) for start in range(0, max(1, tokens - overlap), most - overlap)]


def in_pieces(rows: Sequence[Sequence[Any]], places: Sequence[Sequence[Sequence[int]]]) -> list[list[Any]]:
    """The values of every row at the places of each of its pieces, piece after piece."""
    return [[row[i] for i in piece] for row, pieces in zip(rows, places, strict=True) for piece in pieces]


def mask(rows: list[Any]) -> Any:
    """1 where a row has a token, int64 [B, longest]."""
    import torch

    lengths_B = torch.tensor([len(row) for row in rows])
    return (torch.arange(int(lengths_B.max()))[None] < lengths_B[:, None]).long()


def sequences(rows: dict[str, list[Any]], processor: Any) -> dict[str, Any]:
    """`input_ids`, `attention_mask` and, when the rows have them, `token_type_ids`."""
    batch = {"input_ids": padded(rows["input_ids"], processor.pad_token_id or 0), "attention_mask": mask(rows["input_ids"])}
    if "token_type_ids" in rows:
        batch["token_type_ids"] = padded(rows["token_type_ids"], 0)
    return batch


def inputs(batch: dict[str, Any]) -> dict[str, Any]:
    """What an encoder reads of a batch."""
    return {name: batch[name] for name in INPUTS if name in batch}


def plain(module: Any) -> Any:
    """The model inside engines and adapters."""
    while hasattr(module, "module"):
        module = module.module
    return module.get_base_model() if hasattr(module, "get_base_model") else module


def mean_pooled(module: Any, batch: dict[str, Any]) -> Any:
    """Unit vectors [B, width]: the mean of the encoder's last hidden states."""
    import torch

    encoder = getattr(module, module.base_model_prefix, module)
    hidden_BTD = encoder(**inputs(batch)).last_hidden_state
    mask_BT1 = batch["attention_mask"].unsqueeze(-1).to(hidden_BTD.dtype)
    mean_BD = (hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1).clamp(min=1)
    return torch.nn.functional.normalize(mean_BD.float(), dim=-1)


def name_outputs(config: Any, labels: Sequence[str]) -> None:
    """One output per label, in a transformers config."""
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: i for i, name in enumerate(labels)}


def unreadable(task: Any, model: Any) -> list[str]:
    """Problems of a model with rows of so many tokens, or with rows of several lengths in one batch."""
    found, most = [], model.positions()
    if (kind := model.facts().get("model_type")) in MIX_PADDING:
        told = f"'{model.path}' is of the kind {kind}, whose answer about a row depends on how far it is filled up"
        found.append(f"model.path: {told}. Take a model that masks what is filled up, such as BERT, RoBERTa or ModernBERT.")
    if most is None or task.max_tokens <= most:
        return found
    return [*found, f"task.max_tokens: {task.max_tokens} asked for, and '{model.path}' reads at most {most}. Allowed: 8 to {most}."]
