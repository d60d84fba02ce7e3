"""One tag per word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from heliostat.core.errors import UserError
from heliostat.core.tags import OUTSIDE, Scheme, as_bio, outputs
from heliostat.core.values import name_of, text_of
from heliostat.tasks import _text
from heliostat.tasks.base import IGNORED, Base

UNREAD = -1
"""The place of a word that has no token: it was cut off, or the tokenizer passes over it."""
SPACE_MARKS = ("\u2581", "\u0120")
"""Tokens that SentencePiece and byte-level BPE put where a word begins; alone they say nothing of the word."""
_UNSPACED = r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
_NO_SPACE = re.compile(rf"(?<={_UNSPACED}) | (?={_UNSPACED})")


class TokenClassification(Base):
    """One tag per word (names in texts, parts of speech), with any Hugging Face encoder that has a fast tokenizer.

    Words come split; in Chinese and Japanese a character may be a word. The tokens of a word are read together with those of
    its neighbours, and its first token that is more than a mark of the space before it answers for it.
    """

    auto: ClassVar[str] = "AutoModelForTokenClassification"
    pipeline_tag: ClassVar[str] = "token-classification"
    answers_are: ClassVar[str] = "tags"
    names_from: ClassVar[str | None] = "tags"
    outside: ClassVar[str | None] = OUTSIDE
    base: ClassVar[Literal["probe", "itself", "none"]] = "none"
    untrained: ClassVar[str] = "All their words with a tag lie beyond task.max_tokens: raise it."

    scheme: Scheme = "bio"
    """How tags mark spans. bio: B- begins one, I- goes on; iob1: B- only where one follows another of its type; bioes: also the last
    word (E-, L-) and single ones (S-, U-); plain: tags stand for themselves (parts of speech). A model is always trained on BIO."""
    names: list[str] = []
    """Names of tags that come as numbers, in order; empty when they come as names."""
    subwords: Literal["first", "all"] = "first"
    """Which tokens of a word are trained: the one that answers for it, or also all that follow (inside the span it begins)."""
    max_tokens: int = Field(256, ge=8, le=131_072)
    """Longer rows are cut at the end: words that are not read are outside any span."""
    metric: str = "span_f1"
    """Member of metrics that ranks models of this task; tag_accuracy where the scheme is plain."""
    also: list[str] = Field(["span_precision", "span_recall", "tag_accuracy"])
    """Further members of metrics that are reported; none where the scheme is plain."""

    @model_validator(mode="before")
    @classmethod
    def _metrics_of_plain_tags(cls, given: Any) -> Any:
        plain = isinstance(given, dict) and given.get("scheme") == "plain"
        return {"metric": "tag_accuracy", "also": [], **given} if plain else given

    def columns(self) -> dict[str, str]:
        return {"tokens": "the words of a text, in order", "tags": "the tag of each word"}

    def row(self, values: dict[str, Any]) -> dict[str, Any] | str:
        tokens, tags = listed(values["tokens"]), listed(values["tags"])
        if not tokens or not tags:
            return "missing_tags" if tokens else "missing_tokens"
        if len(tokens) != len(tags):
            return "lengths_differ"
        if not all(isinstance(token, str | int | float) for token in tokens):
            return "tokens_not_text"
        words = [str(token) for token in tokens]
        text, fault = text_of(joined(words), "tokens")
        if fault:
            return fault
        named = [self._name(tag) for tag in tags]
        made = "bad_tag" if None in named else as_bio([name for name in named if name is not None], self.scheme)
        return made if isinstance(made, str) else {"text": text, "label": "", "tokens": words, "tags": made}

    def _name(self, tag: Any) -> str | None:
        if self.names and isinstance(tag, int) and not isinstance(tag, bool):
            return self.names[tag] if 0 <= tag < len(self.names) else None
        return name_of(tag)

    def ordered(self, names: list[str]) -> list[str]:
        return super().ordered(names) if self.scheme == "plain" else outputs(names)

    def problems(self, model: Any) -> list[str]:
        found = _text.too_long(self, model)
        places = [("task.metric", self.metric), *((f"task.also.{i}", name) for i, name in enumerate(self.also))]
        if self.scheme == "plain":
            told = "counts spans, and tags of the scheme plain mark none. Allowed: tag_accuracy."
            found += [f"{place}: '{name}' {told}" for place, name in places if name.startswith("span_")]
        return found

    # The model

    def describe(self, config: Any, labels: Sequence[str]) -> None:
        _text.name_outputs(config, labels)

    def processor(self, folder: str) -> Any:
        from tokenizers.pre_tokenizers import ByteLevel

        tokenizer = super().processor(folder)
        if not tokenizer.is_fast:
            raise UserError(
                f"model.path: the tokenizer in '{folder}' ({type(tokenizer).__name__}) does not tell which word a token belongs to, and "
                f"{self.name()} needs to know. Use a model with a fast tokenizer (one that comes as tokenizer.json)."
            )
        backend = tokenizer.backend_tokenizer
        splits = backend.pre_tokenizer
        if isinstance(splits, ByteLevel) and not splits.add_prefix_space:  # words would read as if glued to each other
            backend.pre_tokenizer = ByteLevel(add_prefix_space=True, use_regex=splits.use_regex)
        return tokenizer

    # Rows to batches to answers

    def tokenise(self, columns: dict[str, list[Any]], processor: Any, labels: Sequence[str]) -> dict[str, list[Any]]:
        """`words` are the places in `input_ids` of the tokens that answer for the words, `UNREAD` for those without one; `labels`
        the targets of the tokens.

        Rows of other tasks (texts to embed) have a text and no words.
        """
        split = "tokens" in columns
        cut = {"truncation": True, "max_length": self.max_tokens, "padding": False, "return_attention_mask": False}
        encoded = processor(columns["tokens" if split else "text"], is_split_into_words=split, **cut)
        ids, targets, marks = encoded["input_ids"], self.targets(columns, labels), space_marks(processor)
        out: dict[str, list[Any]] = {"input_ids": ids, "labels": [], "words": [], "units": []}
        for i, row in enumerate(ids):
            words = places(row, encoded.word_ids(i), len(targets[i]), marks) if split else []
            trained = self._spread(words, encoded.word_ids(i), targets[i])
            out["labels"].append(trained)
            out["words"].append(words)
            out["units"].append(float(sum(label != IGNORED for label in trained)))
        return out

    def _spread(self, words: list[int], word_of: list[int | None], targets: list[int]) -> list[int]:
        """The targets of a row's tokens, from those of its words."""
        out = [IGNORED] * len(word_of)
        for at, word in enumerate(word_of):
            if word is None or not words or at < words[word] or targets[word] == IGNORED:
                continue
            if at == words[word]:
                out[at] = targets[word]
            elif self.subwords == "all":
                begins = self.scheme != "plain" and targets[word] % 2 == 1
                out[at] = targets[word] + 1 if begins else targets[word]
        return out

    def targets(self, columns: dict[str, list[Any]], labels: Sequence[str]) -> list[Any]:
        if "tags" not in columns:
            return [[IGNORED] * len(words) for words in columns["tokens"]] if "tokens" in columns else [[] for _ in columns["text"]]
        index = {name: i for i, name in enumerate(labels)}
        return [[index.get(tag, IGNORED) for tag in tags] for tags in columns["tags"]]

    def stacked(self, targets: list[Any]) -> np.ndarray:
        out_NW = np.full((len(targets), max(map(len, targets), default=0)), IGNORED, dtype=np.int32)
        for row_W, given in zip(out_NW, targets, strict=True):
            row_W[: len(given)] = given
        return out_NW

    def collate(self, rows: dict[str, list[Any]], processor: Any) -> dict[str, Any]:
        targets = {"labels": _text.padded(rows["labels"], IGNORED), "words": _text.padded(rows["words"], UNREAD)}
        return {**_text.sequences(rows, processor), **targets}

    def logits(self, module: Any, batch: dict[str, Any]) -> Any:
        return module(**_text.inputs(batch)).logits

    def units(self, logits: Any, batch: dict[str, Any]) -> dict[str, Any]:
        trained_BT = batch["labels"] != IGNORED
        weight_BT = batch["weight"][:, None].expand_as(trained_BT)
        return {"logits": logits[trained_BT], "labels": batch["labels"][trained_BT], "weight": weight_BT[trained_BT]}

    def answers(self, logits: Any, batch: dict[str, Any]) -> Any:
        """Logits of the words [B, words, C]; zeros for words that were not read."""
        words_BW1 = batch["words"][..., None]
        answers_BWC = logits.float().gather(1, words_BW1.clamp(min=0).expand(-1, -1, logits.shape[-1]))
        return answers_BWC.masked_fill(words_BW1 == UNREAD, 0.0)

    def embed(self, module: Any, batch: dict[str, Any]) -> Any:
        return _text.mean_pooled(module, batch)


def listed(value: Any) -> list[Any]:
    """What a row holds for its words: a list, or text with white space between them; empty when it is neither."""
    if isinstance(value, str):
        return value.split()
    return list(value) if isinstance(value, list | tuple) else []


def joined(words: Sequence[str]) -> str:
    """The words as text: with spaces between them, but none beside Chinese and Japanese characters."""
    return _NO_SPACE.sub("", " ".join(words))


def space_marks(processor: Any) -> set[int]:
    """Ids of tokens that are nothing but the space before a word."""
    found = {processor.convert_tokens_to_ids(mark) for mark in SPACE_MARKS}
    return found - {None, processor.unk_token_id}


def places(ids: Sequence[int], word_of: Sequence[int | None], words: int, marks: set[int]) -> list[int]:
    """For each word the place of its first token that is more than a space mark; of its first one when there is no other."""
    out = [UNREAD] * words
    bare = [False] * words
    for at, word in enumerate(word_of):
        if word is not None and (out[word] == UNREAD or bare[word]):
            if out[word] == UNREAD or ids[at] not in marks:
                out[word] = at
            bare[word] = ids[at] in marks
    return out
