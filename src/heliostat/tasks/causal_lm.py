"""Decoders that go on with a text: continued pretraining, and instruction tuning on conversations or on questions with answers.

The loss is the mean over the tokens that are learnt: every token of a text and the one that ends it; of a conversation the
answers alone, each with the token that ends it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from heliostat.core.errors import UserError, nearest
from heliostat.core.provenance import locate
from heliostat.core.values import text_of
from heliostat.tasks import _chat, _likelihood, _text, _tokenizer
from heliostat.tasks._chat import Message
from heliostat.tasks.base import IGNORED, Base

BETWEEN = "\n\n"
"""Stands between what is asked and what it is about."""
SPARE = 2
"""Tokens by which a shortened question is shorter than it must be."""
OF_CHATS = {"system": None, "chat_template": None, "turns": "all"}
"""Options that a plain text has no use for, as they are when nothing is said."""


class CausalLm(Base):
    """Plain text, conversations or questions with answers, with any Hugging Face decoder; full or LoRA."""

    auto: ClassVar[str] = "AutoModelForCausalLM"
    answers_are: ClassVar[str] = "likelihood"
    names_from: ClassVar[str | None] = None
    base: ClassVar[Any] = "itself"
    packs: ClassVar[bool] = True
    shifted: ClassVar[bool] = True
    pipeline_tag: ClassVar[str] = "text-generation"
    processor_reads: ClassVar[tuple[str, ...]] = ("form", "chat_template")
    together: ClassVar[int] = 4
    untrained: ClassVar[str] = (
        "Their answers lie beyond task.max_tokens, or the chat template cannot write them: raise task.max_tokens, set task.cut: start"
        " to keep the end of a row, or look at the data."
    )

    form: Literal["text", "chat", "prompt"] = "text"
    """text: every token is learnt; chat: conversations, of which the answers are learnt; prompt: a question and its answer."""
    max_tokens: int = Field(512, ge=8, le=131_072)
    """Most tokens of a sequence."""
    cut: Literal["end", "start", "question"] | None = None
    """What of a longer row is left out: its end, its start, or (with form prompt) as much of what is asked as it takes.

    None leaves out nothing of a plain text, which becomes several sequences, and the end of other rows.
    """
    context: bool = False
    """With form prompt: a third column, `text_pair`, holds what the question is about; it may be empty."""
    system: str | None = None
    """Stands as system message before every conversation that has none."""
    turns: Literal["all", "last"] = "all"
    """Which answers of a conversation are learnt; the others are read only."""
    chat_template: str | None = None
    """A Jinja file, or a template itself, that takes the place of the tokenizer's own and is exported with the model."""
    metric: str = "perplexity"
    """Member of metrics that ranks models of this task."""
    also: list[str] = Field(["token_loss", "bits_per_byte"])
    """Further members of metrics that are reported."""

    @field_validator("chat_template")
    @classmethod
    def _read(cls, value: str | None) -> str | None:
        """The template is part of the config, not the place where it lies."""
        return value if value is None or "{{" in value or "{%" in value else template_in(value)

    @model_validator(mode="after")
    def _of_one_form(self) -> Self:
        idle = [name for name, unsaid in OF_CHATS.items() if self.form == "text" and getattr(self, name) != unsaid]
        asks = ["context"] * self.context + ["cut"] * (self.cut == "question")
        idle += asks if self.form != "prompt" else []
        if idle:
            forms = "prompt" if set(idle) <= set(asks) else "chat or prompt"
            raise UserError(f"{', '.join(idle)}: rows of form {self.form} have no use for it. Leave it out, or set form: {forms}.")
        return self

    # The corpus

    def columns(self) -> dict[str, str]:
        if self.form == "text":
            return {"text": "what is learnt"}
        if self.form == "chat":
            return {"messages": "a conversation: a list of {role, content}"}
        about = {"text_pair": "what the question is about"} if self.context else {}
        return {"text": "what is asked", **about, "target_text": "the answer"}

    def row(self, values: dict[str, Any]) -> dict[str, Any] | str:
        if self.form == "chat":
            messages = _chat.messages_of(values["messages"])
            return messages if isinstance(messages, str) else _kept(messages)
        text, fault = text_of(values["text"])
        if fault or self.form == "text":
            return fault or {"text": text, "label": ""}
        answer, no_answer = text_of(values["target_text"], "target_text")
        about, no_about = text_of(values["text_pair"], "text_pair") if self.context else ("", None)
        if no_about in ("missing_text_pair", "empty_text_pair"):
            about, no_about = "", None
        if no_about or no_answer:
            return no_about or no_answer or ""
        return {"text": text, "target_text": answer, "label": "", **({"text_pair": about} if self.context else {})}

    def content(self, row: dict[str, Any]) -> str | bytes:
        return BETWEEN.join(row[name] for name in ("text", "text_pair", "target_text") if row.get(name))

    def answer(self, row: dict[str, Any]) -> str:
        return ""  # one question may have many good answers

    def revised(self, row: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
        if self.form == "chat":
            changed = {**row, **_kept([{**message, "content": change(message["content"])} for message in _chat.loaded(row["messages"])])}
            is_whole = all(message["content"] for message in _chat.loaded(changed["messages"]))
        else:
            changed = super().revised(row, change)
            is_whole = bool(changed.get("target_text", "all"))
        return changed if is_whole else {**changed, "text": ""}  # a row without its text is dropped

    def is_revised(self) -> bool:
        return True

    def splits(self) -> bool:
        return self.form == "text" and self.cut is None

    def problems(self, model: Any) -> list[str]:
        found = _text.unreadable(self, model)
        if _tokenizer.looks_both_ways(model):
            found.append(f"task: causal_lm is for decoders, and '{model.path}' is an encoder, which sees what comes next. Use masked_lm.")
        if model.facts().get("is_encoder_decoder"):
            found.append(f"task: causal_lm is for decoders, and '{model.path}' has an encoder as well. Use seq2seq.")
        if self.form != "text" and self.chat_template is None and _tokenizer.lacks_template(model):
            found.append(f"task.chat_template: {_chat.no_template(model.path)}")
        return found

    # The model

    def model(self, folder: str, labels: list[str] | None, layers: int | None, revision: str = "main") -> tuple[Any, list[str]]:
        module, missing = super().model(folder, labels, layers, revision)
        if labels is not None and _sees_ahead(module.config):
            raise UserError(f"model.path: '{folder}' is an encoder, which sees what comes next. Take a decoder, or use masked_lm.")
        return module, missing

    def processor(self, folder: str, revision: str = "main") -> Any:
        tokenizer = super().processor(folder, revision)
        if self.chat_template is not None:
            tokenizer.chat_template = self.chat_template
        return tokenizer

    # Rows to batches to answers

    def tokenise(self, columns: dict[str, list[Any]], processor: Any, labels: Sequence[str]) -> dict[str, list[Any]]:
        """`labels` are the tokens that are learnt, each in its own place; `bytes` of text they stand for, all of a text at its first piece.

        A later piece of a text begins with the last token of the piece before: its first target is predicted from something.
        """
        talks = self.form == "prompt" or (self.form == "chat" and "messages" in columns)
        rows = self._talks(columns, processor) if talks else _texts(columns["text"], processor)
        last = None if self.cut is None and not talks else self.max_tokens
        kept = slice(-self.max_tokens, None) if self.cut == "start" else slice(last)
        ids = [row[kept] for row, _ in rows]
        learnt = [[token if mark else IGNORED for token, mark in zip(row[kept], marks[kept], strict=True)] for row, marks in rows]
        texts = processor.batch_decode([_told(row) for row in learnt], skip_special_tokens=True)
        places = [_text.spans(len(row), self.max_tokens, overlap=1) for row in ids]
        numbers = [number for pieces in places for number in range(len(pieces))]
        sizes = iter(float(len(text.encode("utf-8", "replace"))) for text in texts)
        labels_of = _text.in_pieces(learnt, places)
        return {
            "input_ids": _text.in_pieces(ids, places),
            "labels": labels_of,
            "bytes": [0.0 if number else next(sizes) for number in numbers],
            "units": [float(len(_told(row))) for row in labels_of],
            "piece": numbers,
        }

    def _talks(self, columns: dict[str, list[Any]], processor: Any) -> list[_chat.Tokens]:
        writer = _writer(processor, self.system, self.turns)
        empty: _chat.Tokens = ([processor.eos_token_id or 0], [False])  # what cannot be written is one token that is not learnt
        if self.form == "chat":
            return [tokens or empty for tokens in writer.tokens([_chat.loaded(text) for text in columns["messages"]])]
        asked = _asked(columns)
        rows = self._answered(asked, columns.get("target_text"), writer)
        beyond = {i: len(row[0]) - self.max_tokens for i, row in enumerate(rows) if row is not None} if self.cut == "question" else {}
        long = [i for i, tokens in beyond.items() if tokens > 0]
        if long:
            answers = columns.get("target_text")
            shorter = [_shortened(asked[i], beyond[i], processor) for i in long]
            again = self._answered(shorter, answers and [answers[i] for i in long], writer)
            shortened = dict(zip(long, again, strict=True))
            rows = [shortened.get(i, row) for i, row in enumerate(rows)]
        return [tokens or empty for tokens in rows]

    def _answered(self, asked: list[str], answers: list[str] | None, writer: _chat.Writer) -> list[_chat.Tokens | None]:
        """Each question with its answer; without answers, with the prompt for one, of which nothing is learnt."""
        questions = [[_said("user", text)] for text in asked]
        if answers is None:
            return [None if ids is None else (ids, [False] * len(ids)) for ids in writer.prompts(questions)]
        return writer.tokens([[*each, _said("assistant", answer)] for each, answer in zip(questions, answers, strict=True)])

    def targets(self, columns: dict[str, list[Any]], labels: Sequence[str]) -> list[Any]:
        return [0.0] * len(next(iter(columns.values())))  # an answer is a likelihood already

    def collate(self, rows: dict[str, list[Any]], processor: Any) -> dict[str, Any]:
        """`kept` [K] are the places after which some row has a token to learn, `labels` [B, K] those tokens."""
        import torch

        batch: dict[str, Any] = {"input_ids": _text.padded(rows["input_ids"], processor.pad_token_id or 0)}
        if "position_ids" in rows:  # a packed row: positions tell its documents apart, and a mask of its tokens would join them
            batch["position_ids"] = _text.padded(rows["position_ids"], 0)
        else:
            batch["attention_mask"] = _text.mask(rows["input_ids"])
        next_BT = _text.padded([[*row[1:], IGNORED] for row in rows["labels"]], IGNORED)
        kept = torch.nonzero((next_BT != IGNORED).any(0))[:, 0]
        batch["kept"] = kept if len(kept) else torch.tensor([next_BT.shape[1] - 1])
        batch |= _likelihood.targets(next_BT[:, batch["kept"]])
        if "bytes" in rows:
            batch["bytes"] = torch.as_tensor(rows["bytes"], dtype=torch.float32)
        return batch

    def logits(self, module: Any, batch: dict[str, Any]) -> Any:
        """[B, K, V]: where nothing is learnt the vocabulary's logits are not worked out, when the model can leave them out."""
        given = {name: batch[name] for name in ("input_ids", "attention_mask", "position_ids") if name in batch}
        kind: Any = type(_text.plain(module))
        if _leaves_out(kind):
            return module(**given, use_cache=False, logits_to_keep=batch["kept"]).logits
        return module(**given, use_cache=False).logits[:, batch["kept"]]

    def units(self, logits: Any, batch: dict[str, Any]) -> dict[str, Any]:
        return _likelihood.units(logits, batch)

    def answers(self, logits: Any, batch: dict[str, Any]) -> Any:
        return _likelihood.answers(logits, batch)

    def embed(self, module: Any, batch: dict[str, Any]) -> Any:
        return _text.mean_pooled(module, batch)


def template_in(path: str) -> str:
    """The template that a file holds; `UserError` when it holds none."""
    place = locate(path)
    if not place.is_file():
        near = nearest(place.name, [p.name for p in place.parent.iterdir()]) if place.parent.is_dir() else None
        hint = f" Did you mean '{place.parent / near}'?" if near else ""
        raise UserError(f"'{path}' is no file and no Jinja template.{hint}")
    text = Path(place).read_text(encoding="utf-8")
    if "{{" not in text and "{%" not in text:
        raise UserError(f"'{path}' holds no Jinja template: there is no {{{{ or {{% in it.")
    return text


def _kept(messages: list[Message]) -> dict[str, Any]:
    """The columns of a conversation."""
    return {"messages": _chat.dump(messages), "text": _chat.text_of(messages), "label": ""}


def _asked(columns: dict[str, list[Any]]) -> list[str]:
    """What is asked, with what it is about."""
    about = columns.get("text_pair", [""] * len(columns["text"]))
    return [BETWEEN.join(filter(None, pair)) for pair in zip(columns["text"], about, strict=True)]


def _told(labels: list[int]) -> list[int]:
    """The targets of a sequence: nothing stands before a first token."""
    return [token for token in labels[1:] if token != IGNORED]


def _shortened(text: str, beyond: int, processor: Any) -> str:
    """The beginning of a text, `beyond` tokens and a little shorter: its last word may be cut into other tokens than before."""
    ids = processor(text, add_special_tokens=False)["input_ids"]
    return processor.decode(ids[: max(1, len(ids) - beyond - SPARE)]).rstrip("\ufffd")  # a token of bytes can end inside a character


def _said(role: str, content: str) -> Message:
    return {"role": role, "content": content.strip()}


def _texts(texts: list[str], processor: Any) -> list[_chat.Tokens]:
    """Each text with the token that ends it, all of which is learnt."""
    end = processor.eos_token_id
    if end is None:
        where = processor.name_or_path
        raise UserError(f"model.path: the tokenizer of '{where}' has no end-of-text token, so no model learns where to stop.")
    encoded = processor(texts, padding=False, truncation=False, return_attention_mask=False)["input_ids"]
    rows = [[*ids, end] if not ids or ids[-1] != end else list(ids) for ids in encoded]
    return [(ids, [True] * len(ids)) for ids in rows]


@lru_cache(maxsize=4)
def _writer(processor: Any, system: str | None, turns: Any) -> _chat.Writer:
    return _chat.Writer(processor, system, turns)


@lru_cache(maxsize=16)
def _leaves_out(kind: type) -> bool:
    """Whether a model can be told for which places logits are wanted."""
    return "logits_to_keep" in inspect.signature(kind.forward).parameters  # type: ignore[attr-defined]


def _sees_ahead(config: Any) -> bool:
    """Whether a model of this config looks at what comes after a word."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    return config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False)
