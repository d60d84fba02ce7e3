"""One tag per word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from heliostat.core.errors import UserError
from heliostat.core.tags import OUTSIDE, Scheme, as_bio, outputs
from heliostat.core.values import name_of, text_of
from heliostat.core.words import joined, laid_out
from heliostat.tasks import _text
from heliostat.tasks.base import IGNORED, Base

UNREAD = -1
"""The place of a word that has no token: it was cut off, or the tokenizer passes over it."""
SPACE_MARKS = ("\u2581", "\u0120")
"""Tokens that SentencePiece and byte-level BPE put where a word begins; alone they say nothing of the word."""
NEVER = -1e4
"""The logit of an answer that cannot be."""


class TokenClassification(Base):
    """One tag per word (names in texts, parts of speech), with any Hugging Face encoder that has a fast tokenizer.

    Words come split; in Chinese and Japanese a character may be a word. The model reads the text as it is written, and the token that
    a word begins in answers for it. Of several words that begin in one token the first one is trained, and the others go on with it.
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
        found = _text.unreadable(self, model)
        places = [("task.metric", self.metric), *((f"task.also.{i}", name) for i, name in enumerate(self.also))]
        if self.scheme == "plain":
            told = "counts spans, and tags of the scheme plain mark none. Allowed: tag_accuracy."
            found += [f"{place}: '{name}' {told}" for place, name in places if name.startswith("span_")]
        return found

    # The model

    def describe(self, config: Any, labels: Sequence[str]) -> None:
        _text.name_outputs(config, labels)

    def processor(self, folder: str, revision: str = "main") -> Any:
        tokenizer = super().processor(folder, revision)
        if not tokenizer.is_fast:
            raise UserError(
                f"model.path: the tokenizer in '{folder}' ({type(tokenizer).__name__}) does not tell which word a token belongs to, and "
                f"{self.name()} needs to know. Use a model with a fast tokenizer (one that comes as tokenizer.json)."
            )
        return tokenizer

    # Rows to batches to answers

    def tokenise(self, columns: dict[str, list[Any]], processor: Any, labels: Sequence[str]) -> dict[str, list[Any]]:
        """`words` are the places in `input_ids` of the tokens that answer for the words, `UNREAD` for those without one; `labels`
        the targets of the tokens.

        Rows of other tasks (texts to embed) have a text and no words.
        """
        split = "tokens" in columns
        laid = [laid_out(words) for words in columns["tokens"]] if split else [(text, []) for text in columns["text"]]
        cut = {"truncation": True, "max_length": self.max_tokens, "padding": False, "return_attention_mask": False}
        encoded = processor([text for text, _ in laid], return_offsets_mapping=True, **cut)
        targets, marks = self.targets(columns, labels), space_marks(processor)
        out: dict[str, list[Any]] = {"input_ids": encoded["input_ids"], "labels": [], "words": [], "units": []}
        for i, (ids, spans) in enumerate(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)):
            read = [None if token in marks else span for token, span in zip(ids, spans, strict=True)]
            places, word_of = begun_in(read, laid[i][1])
            trained = self._spread(places, word_of, targets[i])
            out["labels"].append(trained)
            out["words"].append(places)
            out["units"].append(float(sum(label != IGNORED for label in trained)))
        return out

    def _spread(self, places: list[int], word_of: list[int | None], targets: list[int]) -> list[int]:
        """The targets of a row's tokens, from those of its words."""
        out = [IGNORED] * len(word_of)
        for at, word in enumerate(word_of):
            if word is None or targets[word] == IGNORED:
                continue
            if at == places[word]:
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
        """Logits of the words [B, words, C]; zeros for words that were not read. A word that begins in the same token as the one before
        goes on with that one's span."""
        words_BW1 = batch["words"][..., None]
        answers_BWC = logits.float().gather(1, words_BW1.clamp(min=0).expand(-1, -1, logits.shape[-1]))
        if self.scheme != "plain" and words_BW1.shape[1] > 1:
            before_BW1 = words_BW1.cummax(1).values
            shared_BW1 = words_BW1[:, 1:] == before_BW1[:, :-1]
            answers_BWC[:, 1:] = answers_BWC[:, 1:].where(~shared_BW1, gone_on(answers_BWC[:, 1:]))
        return answers_BWC.masked_fill(words_BW1 == UNREAD, 0.0)

    def embed(self, module: Any, batch: dict[str, Any]) -> Any:
        return _text.mean_pooled(module, batch)


def listed(value: Any) -> list[Any]:
    """What a row holds for its words: a list, or text with white space between them; empty when it is neither."""
    if isinstance(value, str):
        return value.split()
    return list(value) if isinstance(value, list | tuple) else []


def gone_on(answers: Any) -> Any:
    """Logits [..., C] of words that cannot begin a span: what spoke for a beginning speaks for going on."""
    out = answers.clone()
    out[..., 2::2] = answers[..., 1::2].logaddexp(answers[..., 2::2])
    out[..., 1::2] = NEVER
    return out


def space_marks(processor: Any) -> set[int]:
    """Ids of tokens that are nothing but the space before a word."""
    found = {processor.convert_tokens_to_ids(mark) for mark in SPACE_MARKS}
    return found - {None, processor.unk_token_id}


def begun_in(tokens: Sequence[tuple[int, int] | None], words: Sequence[tuple[int, int]]) -> tuple[list[int], list[int | None]]:
    """(For each word the place of the token it begins in, `UNREAD` for none; for each token the first word that begins in it, else the
    word that it is a later part of.) Both are given as where they begin and end in the text; None is a token that is to be passed over."""
    places, at = [UNREAD] * len(words), 0
    word_of: list[int | None] = [None] * len(tokens)
    for place, token in enumerate(tokens):
        if token is None or token[0] == token[1]:  # what the tokenizer puts around a text is nowhere in it
            continue
        while at < len(words) and words[at][1] <= token[0]:
            at += 1
        word = at
        while word < len(words) and words[word][0] < token[1]:
            if places[word] == UNREAD and words[word][0] < words[word][1]:
                places[word] = place
                word_of[place] = word if word_of[place] is None else word_of[place]
            word += 1
        if word_of[place] is None and word > at:
            word_of[place] = at
    return places, word_of
