"""Documents of one packed row that never see each other, in models that were not written for it.

Three ways, tried in this order on the model itself, because what a model does with its inputs is seen in its numbers
and not in its name:

positions  transformers sees where positions begin again and masks the documents from each other. It does so only
           without an attention mask and without a cache: with `use_cache`, which is the default of most decoders,
           they see each other and nothing says so.
flat       the same, all rows of a batch in one: what flash attention needs, which looks at positions in one row only.
mask       a block-diagonal mask [rows, 1, tokens, tokens], causal or not, for models that read no positions in their
           attention (OPT) or look both ways (BERT). Not for local attention: the mask takes the window's place.

A batch is the same for all of them; `logits` makes of it what the way needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from heliostat.core.errors import UserError

UNTRAINED = -100
LEAK = 0.01
"""Largest change of a document's logits by another document, as a share of the change when both are one document."""
LENGTHS = (5, 7)
"""Tokens of the two documents of a probe."""
REFUSALS = (TypeError, ValueError, RuntimeError, IndexError, AttributeError)
"""What a model raises that does not take such inputs."""


@dataclass(frozen=True)
class Way:
    """How a model is told where documents begin."""

    layout: Literal["rows", "flat"] = "rows"
    mask: Literal["none", "causal", "full"] = "none"
    """The mask that is given; with none the positions alone say it."""
    first: int = 0
    """The position of a document's first token."""


POSITIONS = Way()


def collate(rows: dict[str, list[Any]], pad_id: int) -> dict[str, Any]:
    """Tensors [rows, tokens] of packed rows: `input_ids`, `labels` (-100 is not trained on), `position_ids`; `tokens` [rows].

    Shorter rows are filled with `pad_id`, each filling token a document of its own: no row of a mask is ever empty.
    """
    import torch

    tokens = [len(row) for row in rows["input_ids"]]
    shape = len(tokens), max(tokens)
    filled = {"input_ids": pad_id, "labels": UNTRAINED, "position_ids": 0}
    batch = {name: torch.full(shape, value, dtype=torch.long) for name, value in filled.items()}
    for name, tensor_BT in batch.items():
        for i, row in enumerate(rows[name]):
            tensor_BT[i, : len(row)] = torch.as_tensor(row, dtype=torch.long)
    return {**batch, "tokens": torch.as_tensor(tokens)}


def logits(module: Any, batch: dict[str, Any], way: Way) -> Any:
    """Logits [rows, tokens, words] of a packed batch; those of tokens that only fill up mean nothing."""
    import torch

    ids_BT, positions_BT = batch["input_ids"], batch["position_ids"]
    if way.layout == "rows":
        return _called(module, ids_BT, positions_BT, way)
    real_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device) < batch["tokens"][:, None]
    found_SV = _called(module, ids_BT[real_BT][None], positions_BT[real_BT][None], way)[0]
    out_BTV = found_SV.new_zeros(*ids_BT.shape, found_SV.shape[-1])
    out_BTV[real_BT] = found_SV
    return out_BTV


def _called(module: Any, ids_BT: Any, positions_BT: Any, way: Way) -> Any:
    return _answer(module(input_ids=ids_BT, use_cache=False, **inputs_of(module, positions_BT, way)))


def inputs_of(module: Any, positions_BT: Any, way: Way) -> dict[str, Any]:
    """What tells `module` where the documents of rows begin, from positions that begin at 0 in each: inputs of its own."""
    if way.mask == "none":
        return {"position_ids": positions_BT + way.first}
    mask = block_mask(positions_BT, causal=way.mask == "causal", dtype=_dtype(module))
    return {"position_ids": positions_BT + way.first, "attention_mask": mask}


def _answer(out: Any) -> Any:
    """Logits, or the hidden states of a model without a head."""
    return out.logits if hasattr(out, "logits") else out.last_hidden_state


def block_mask(positions_BT: Any, *, causal: bool, dtype: Any) -> Any:
    """Additive mask [rows, 1, tokens, tokens]: 0 inside a document (up to the token itself when `causal`), else the lowest number."""
    import torch

    document_BT = (positions_BT == 0).cumsum(-1)
    seen_BTT = document_BT[:, :, None] == document_BT[:, None, :]
    if causal:
        seen_BTT = seen_BTT.tril()
    lowest = torch.finfo(dtype).min
    return torch.zeros(seen_BTT.shape, dtype=dtype, device=positions_BT.device).masked_fill_(~seen_BTT, lowest)[:, None]


def _dtype(module: Any) -> Any:
    """Attention wants its mask in the type it computes in."""
    return next(module.parameters()).dtype


def way_of(module: Any) -> Way:
    """The first way in which `module` keeps the documents of a row apart; `UserError` when there is none.

    Call it once for each model, before DeepSpeed divides its weights; it makes some forward passes of a dozen tokens.
    """
    for way in _candidates(module.config.get_text_config()):
        if isolated(module, way):
            return way
    raise UserError(
        f"packing: '{type(module).__name__}' lets documents in one row see each other, whether they are told apart by positions or "
        f"by an attention mask (its attention: {getattr(module.config, '_attn_implementation', None)}). Such are models with a state "
        "that runs through the row (Mamba), with ALiBi (BLOOM), or with local attention and no positions. Train it without packing, on "
        "batches of rows, or take a model such as Llama, Qwen, Mistral, Gemma, GPT-2, OPT or BERT."
    )


def way_in_rows(module: Any) -> Way:
    """The first way of `way_of` that leaves the rows of a batch as they are, which a task's own batches need; `UserError` without one."""
    for way in _candidates(module.config.get_text_config()):
        if way.layout == "rows" and isolated(module, way):
            return way
    raise UserError(
        f"train.packing: '{type(module).__name__}' lets texts in one sequence see each other. Train without packing, or take a model"
        " such as Llama, Qwen, Mistral, Gemma, GPT-2, OPT, BERT or RoBERTa."
    )


def _candidates(config: Any) -> Iterator[Way]:
    yield POSITIONS
    yield Way("flat")
    if _is_local(config):
        return
    yield Way(mask="causal")
    yield Way(mask="full")
    if (pad := getattr(config, "pad_token_id", None)) is not None:
        yield Way(mask="full", first=pad + 1)  # RoBERTa and its kind count from there


def _is_local(config: Any) -> bool:
    """Whether some layer sees a window only, which a mask of ours would open."""
    kinds = getattr(config, "layer_types", None) or []
    windows = ("sliding_window", "attention_chunk_size", "local_attention")
    return any(kind != "full_attention" for kind in kinds) or any(getattr(config, name, None) for name in windows)


def isolated(module: Any, way: Way = POSITIONS) -> bool:
    """Whether documents in a packed row leave each other's logits alone, and each has the logits it has by itself.

    What counts as a change is measured on the model: the two documents are also given as one, and the other's
    influence then is the yardstick.
    """
    import torch

    device, words = next(module.parameters()).device, module.config.get_text_config().vocab_size
    pair, other = (_documents(words, LENGTHS, seed) for seed in (1, 2))
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            alone = [_alone(module, document.to(device)) for document in pair]  # a model that is broken says so here
            try:
                return _told_apart(module, way, pair, other, alone)
            except REFUSALS:
                return False
    finally:
        module.train(was_training)


def _told_apart(module: Any, way: Way, pair: list[Any], other: list[Any], alone: list[Any]) -> bool:
    """Whether `pair` packed has the logits `alone`, and one of the pair does not notice that the other becomes another document."""
    import torch

    rows = [[*pair], [other[0], pair[1]], [pair[0], other[1]]]  # both documents, another first one, another second one
    ids = [torch.cat(documents).tolist() for documents in rows]
    positions = [p for length in LENGTHS for p in range(length)]
    whole = list(range(sum(LENGTHS)))

    def told(each: list[int], which: list[int]) -> Any:
        batch = collate({"input_ids": [ids[i] for i in which], "labels": [whole] * len(which), "position_ids": [each] * len(which)}, 0)
        return logits(module, {name: tensor.to(alone[0].device) for name, tensor in batch.items()}, way).float()

    packed_3TV, joined_3TV = told(positions, [0, 1, 2]), told(whole, [0, 1, 2])
    first, second = slice(0, LENGTHS[0]), slice(LENGTHS[0], None)
    leak = max(_gap(packed_3TV[0, second], packed_3TV[1, second]), _gap(packed_3TV[0, first], packed_3TV[2, first]))
    seen = _gap(joined_3TV[0, second], joined_3TV[1, second])
    off = max(_gap(packed_3TV[0, first], alone[0]), _gap(packed_3TV[0, second], alone[1]))
    rounding = 16 * torch.finfo(_dtype(module)).eps * float(alone[1].abs().max())  # another shape adds in another order
    return leak <= LEAK * seen and off <= 0.1 * seen + rounding


def _documents(words: int, lengths: tuple[int, ...], seed: int) -> list[Any]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(words // 4, words, (length,), generator=generator) for length in lengths]  # special tokens come first


def _alone(module: Any, document_T: Any) -> Any:
    import torch

    out = module(input_ids=document_T[None], attention_mask=torch.ones_like(document_T[None]), use_cache=False)
    return _answer(out)[0].float()


def _gap(one: Any, another: Any) -> float:
    return float((one - another).abs().max())
