"""Continued pretraining of encoders: words are hidden, and the model tells what they were (Devlin et al., 2019).

What is hidden is drawn anew for every row and epoch (Liu et al., 2019), and at validation it is the same every time. How
many tokens of a row are hidden is a function of its length. The loss is a mean over all tokens that might be hidden: one that
is stands for those of its row that are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from heliostat.core.errors import UserError
from heliostat.core.values import text_of
from heliostat.tasks import _likelihood, _text, _tokenizer
from heliostat.tasks.base import IGNORED, Base

MASKED, RANDOM = 0.8, 0.1
"""Of the tokens to tell, so many are hidden and so many replaced by another one; the rest stays as it is."""


class MaskedLm(Base):
    """Plain text, with any Hugging Face encoder that has a mask token; the export keeps the prediction head."""

    auto: ClassVar[str] = "AutoModelForMaskedLM"
    answers_are: ClassVar[str] = "likelihood"
    names_from: ClassVar[str | None] = None
    base: ClassVar[Any] = "itself"
    packs: ClassVar[bool] = True
    pipeline_tag: ClassVar[str] = "fill-mask"
    together: ClassVar[int] = 8
    untrained: ClassVar[str] = "Their text has no token the tokenizer knows."
    is_drawn: ClassVar[bool] = True

    max_tokens: int = Field(128, ge=8, le=131_072)
    """Most tokens of a sequence."""
    cut: Literal["end"] | None = None
    """What of a longer text is left out: its end; None leaves out nothing, it becomes several sequences."""
    mask_share: float = Field(0.15, gt=0, lt=1)
    """Share of the tokens the model is to tell."""
    whole_word: bool = False
    """Draw words instead of tokens: all pieces of a word are hidden together."""
    metric: str = "perplexity"
    """Member of metrics that ranks models of this task."""
    also: list[str] = Field(["token_loss"])
    """Further members of metrics that are reported."""

    def columns(self) -> dict[str, str]:
        return {"text": "what is learnt"}

    def row(self, values: dict[str, Any]) -> dict[str, Any] | str:
        text, fault = text_of(values["text"])
        return fault or {"text": text, "label": ""}

    def answer(self, row: dict[str, Any]) -> str:
        return ""

    def splits(self) -> bool:
        return self.cut is None

    def problems(self, model: Any) -> list[str]:
        found = _text.unreadable(self, model)
        if _tokenizer.decodes(model):
            found.append(f"task: masked_lm is for encoders, and '{model.path}' is a decoder. For continued pretraining use causal_lm.")
        if _tokenizer.lacks_mask(model):
            found.append(f"model.path: {no_mask(model.path)}")
        if "bits_per_byte" in (self.metric, *self.also):
            found.append("task.metric: bits_per_byte is for whole texts, and masked_lm tells some of their tokens. Use perplexity.")
        return found

    def tokenise(self, columns: dict[str, list[Any]], processor: Any, labels: Sequence[str]) -> dict[str, list[Any]]:
        """`labels` are the tokens that may be hidden: all but special ones."""
        if processor.mask_token_id is None or processor.mask_token_id == processor.unk_token_id:
            raise UserError(f"model.path: {no_mask(processor.name_or_path)}")
        cut: dict[str, Any] = {"truncation": self.cut is not None, "max_length": self.max_tokens if self.cut else None}
        told = {"return_attention_mask": False, "return_special_tokens_mask": True}
        encoded = processor(columns["text"], **cut, **told, padding=False)
        places = [self._pieces(marks, processor.num_special_tokens_to_add()) for marks in encoded["special_tokens_mask"]]
        ids = _text.in_pieces(encoded["input_ids"], places)
        special = set(processor.all_special_ids)
        maskable = [[IGNORED if token in special else token for token in row] for row in ids]
        numbers = [number for pieces in places for number in range(len(pieces))]
        out: dict[str, list[Any]] = {"input_ids": ids, "labels": maskable, "units": [_count(row) for row in maskable], "piece": numbers}
        return out | {"words": _text.in_pieces(words_of(encoded, len(places)), places)} if self.whole_word else out

    def _pieces(self, marks: list[int], around: int) -> list[list[int]]:
        """Places of each piece of a text; the `around` tokens that the tokenizer adds, the first marked, stand around each."""
        before = min(around, next((i for i, mark in enumerate(marks) if not mark), around))
        stop = len(marks) - (around - before)
        spans = _text.spans(stop - before, self.max_tokens - around)
        return [[*range(before), *(before + i for i in span), *range(stop, len(marks))] for span in spans]

    def targets(self, columns: dict[str, list[Any]], labels: Sequence[str]) -> list[Any]:
        return [0.0] * len(columns["text"])  # an answer is a likelihood already

    def drawn(self, rows: dict[str, list[Any]], generators: Sequence[np.random.Generator], processor: Any) -> dict[str, list[Any]]:
        """`input_ids` with tokens hidden, `labels` of these alone, for how many each `stands_for`; `whole_ids` as they were.

        Every text of a packed row is drawn as it would be by itself.
        """
        if "documents" in rows:
            apart: dict[str, list[Any]] = {
                name: _apart(rows[name], rows["documents"]) for name in ("input_ids", "labels", "words") if name in rows
            }
            texts = self.drawn(apart, generators, processor)
            counts = [len(documents) for documents in rows["documents"]]
            return {name: _together(values, counts) for name, values in texts.items()} | {"position_ids": rows["position_ids"]}
        ordinary = _ordinary(processor)
        out: dict[str, list[Any]] = {"input_ids": [], "labels": [], "stands_for": [], "whole_ids": rows["input_ids"]}
        words = rows["words"] if self.whole_word else [None] * len(generators)
        for ids, labels, of, rng in zip(rows["input_ids"], rows["labels"], words, generators, strict=True):
            ids_T, labels_T = np.array(ids, dtype=np.int64), np.array(labels, dtype=np.int64)
            open_M = np.flatnonzero(labels_T != IGNORED)
            told = self.chosen(open_M, None if of is None else np.asarray(of), rng)
            kind = rng.random(len(told))
            ids_T[told[kind < MASKED]] = processor.mask_token_id
            other = told[(kind >= MASKED) & (kind < MASKED + RANDOM)]
            ids_T[other] = rng.choice(ordinary, len(other))
            shown_T = np.full_like(labels_T, IGNORED)
            shown_T[told] = labels_T[told]
            out["input_ids"].append(ids_T)
            out["labels"].append(shown_T)
            out["stands_for"].append(np.where(shown_T == IGNORED, 0.0, len(open_M) / max(1, len(told))))
        return out

    def chosen(self, open_M: np.ndarray, words_T: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
        """Places to tell of the places `open_M` that may be, rising; whole words until there are enough when words are known."""
        wanted = min(len(open_M), max(1, round(self.mask_share * len(open_M))))
        if words_T is None:
            return np.sort(rng.choice(open_M, wanted, replace=False))
        _, word_M = np.unique(words_T[open_M], return_inverse=True)
        order_W = rng.permutation(int(word_M.max(initial=-1)) + 1)
        pieces_W = np.bincount(word_M, minlength=len(order_W))[order_W]
        enough = int(np.searchsorted(np.cumsum(pieces_W), wanted)) + 1
        return open_M[np.isin(word_M, order_W[:enough])]

    def collate(self, rows: dict[str, list[Any]], processor: Any) -> dict[str, Any]:
        """`places` [B, K] are those to tell, `labels` [B, K] what they hold, `stands_for` [B, K] for how many tokens each is told."""
        import torch

        batch = _text.sequences(rows, processor)
        batch["whole_ids"] = _text.padded(rows["whole_ids"], processor.pad_token_id or 0)
        if "position_ids" in rows:  # a packed row: positions tell its documents apart, and a mask of its tokens would join them
            batch["position_ids"] = _text.padded(rows["position_ids"], 0)
            del batch["attention_mask"]
        places = [np.flatnonzero(np.asarray(labels) != IGNORED) for labels in rows["labels"]]
        batch["places"] = _text.padded(places, 0) if any(map(len, places)) else torch.zeros(len(places), 1, dtype=torch.long)
        told = [np.asarray(labels)[where] for labels, where in zip(rows["labels"], places, strict=True)]
        batch |= _likelihood.targets(_text.padded(told, IGNORED) if any(map(len, told)) else torch.full((len(told), 1), IGNORED))
        batch["stands_for"] = torch.zeros(batch["labels"].shape)
        for i, (shares, where) in enumerate(zip(rows["stands_for"], places, strict=True)):
            batch["stands_for"][i, : len(where)] = torch.as_tensor(shares[where], dtype=torch.float32)
        return batch

    def logits(self, module: Any, batch: dict[str, Any]) -> Any:
        """[B, K, V]: of most architectures the vocabulary's logits are worked out at the places to tell alone."""
        positions = {"position_ids": batch["position_ids"]} if "position_ids" in batch else {}
        with _told_alone(_text.plain(module), batch) as asked:
            found = module(**_text.inputs(batch), **positions).logits
        return found if asked else _at(batch["places"], found)

    def units(self, logits: Any, batch: dict[str, Any]) -> dict[str, Any]:
        return _likelihood.units(logits, batch)

    def answers(self, logits: Any, batch: dict[str, Any]) -> Any:
        return _likelihood.answers(logits, batch)

    def embed(self, module: Any, batch: dict[str, Any]) -> Any:
        return _text.mean_pooled(module, batch | {"input_ids": batch["whole_ids"]})


@contextmanager
def _told_alone(module: Any, batch: dict[str, Any]) -> Iterator[list[Any]]:
    """What predicts words is given the places to tell alone; the list has an entry once it was. A few work their logits out otherwise."""
    asked: list[Any] = []

    def choose(_head: Any, given: tuple[Any, ...]) -> Any:
        if len(given) != 1 or given[0].shape[:-1] != batch["input_ids"].shape:
            return None
        asked.append(True)
        return _at(batch["places"], given[0])

    head = module.get_output_embeddings()
    hook = head.register_forward_pre_hook(choose) if head is not None else None
    try:
        yield asked
    finally:
        if hook is not None:
            hook.remove()


def _at(places_BK: Any, values_BTD: Any) -> Any:
    """[B, K, D]."""
    import torch

    return values_BTD[torch.arange(len(places_BK), device=places_BK.device)[:, None], places_BK]


def no_mask(model: str) -> str:
    """What is wrong with a tokenizer that cannot hide a word, and what to do."""
    return (
        f"the tokenizer of '{model}' has no mask token, and masked_lm hides words behind it. Take an encoder that was pretrained with one"
        " (BERT, RoBERTa, MiniLM, ModernBERT ...)."
    )


def words_of(encoded: Any, rows: int) -> list[list[int]]:
    """The number of the word each token belongs to, -1 for none; `UserError` when the tokenizer does not know."""
    if not encoded.is_fast:
        raise UserError("task.whole_word: this tokenizer does not tell which tokens make a word. Set task.whole_word: false.")
    return [[-1 if word is None else word for word in encoded.word_ids(row)] for row in range(rows)]


def _apart(rows: list[list[int]], documents: list[list[int]]) -> list[np.ndarray]:
    """The texts of packed rows, whose `documents` are so many tokens each."""
    return [part for row, tokens in zip(rows, documents, strict=True) for part in np.split(np.asarray(row), np.cumsum(tokens)[:-1])]


def _together(texts: list[np.ndarray], counts: list[int]) -> list[np.ndarray]:
    """So many texts in each row, one after the other."""
    ends = np.cumsum(counts)
    return [np.concatenate(texts[end - count : end]) for end, count in zip(ends, counts, strict=True)]


def _count(maskable: list[int]) -> float:
    return float(sum(token != IGNORED for token in maskable))


@lru_cache(maxsize=4)
def _ordinary(processor: Any) -> np.ndarray:
    """Every token that is not special."""
    return np.setdiff1d(np.arange(len(processor)), processor.all_special_ids)
