"""What tasks share that put a head on a text encoder: one text or two read together, cut, padded, embedded."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from pydantic import Field

from heliostat.core.values import text_of
from heliostat.tasks import _text
from heliostat.tasks.base import Base

LAST = "score"
"""The head of decoders that classify: it reads the last token that is no filling, which they know by its number."""
BETWEEN = " \0 "
"""Stands between the two texts of a pair where they are compared as one; no clean text holds it."""


class EncoderTask(Base):
    """A head on any Hugging Face encoder that reads one text, or two together."""

    auto: ClassVar[str] = "AutoModelForSequenceClassification"

    max_tokens: int = Field(128, ge=8, le=131_072)
    """Longer texts are cut at the end; of a pair always the longer one."""
    pair: bool = False
    """Each row has two texts, `text` and `text_pair`, which are read together. Filters that drop rows look at `text` alone."""

    @abstractmethod
    def target(self) -> dict[str, str]:
        """The target's column, with a few words on what it holds."""

    @abstractmethod
    def clean(self, value: Any) -> dict[str, Any] | str:
        """The target's columns of a row from what the source holds, or the reason word why there is none."""

    def columns(self) -> dict[str, str]:
        texts = {"text": "the first text", "text_pair": "the second one"} if self.pair else {"text": "what is read"}
        return {**texts, **self.target()}

    def row(self, values: dict[str, Any]) -> dict[str, Any] | str:
        texts: dict[str, Any] = {}
        for name in ("text", "text_pair")[: 1 + self.pair]:
            texts[name], fault = text_of(values[name], name)
            if fault:
                return fault
        (target,) = self.target()
        cleaned = self.clean(values[target])
        return cleaned if isinstance(cleaned, str) else {"label": "", **texts, **cleaned}

    def content(self, row: dict[str, Any]) -> str | bytes:
        return f"{row['text']}{BETWEEN}{row['text_pair']}" if self.pair else row["text"]

    def problems(self, model: Any) -> list[str]:
        return _text.unreadable(self, model)

    def processor(self, folder: str, revision: str = "main") -> Any:
        """A decoder's tokenizer that has no token to fill up with takes its end token, as the model then does."""
        made = super().processor(folder, revision)
        if made.pad_token_id is None and made.eos_token_id is not None:
            made.pad_token = made.eos_token
        return made

    def model(self, folder: str, labels: list[str] | None, layers: int | None, revision: str = "main") -> tuple[Any, list[str]]:
        module, missing = super().model(folder, labels, layers, revision)
        if labels is not None and hasattr(module, LAST):
            filled = self.processor(folder, revision).pad_token_id
            module.config.get_text_config().pad_token_id = module.config.pad_token_id = 0 if filled is None else filled
        return module, missing

    def sequences(self, columns: dict[str, list[Any]], processor: Any) -> dict[str, list[Any]]:
        """Token ids of each row; for pairs `token_type_ids` too, when the tokenizer tells the texts apart.

        Rows of a suite that knows no pairs have one text, and are read as one.
        """
        both = self.pair and "text_pair" in columns
        texts = (columns["text"], columns["text_pair"]) if both else (columns["text"],)
        cut: dict[str, Any] = {"truncation": "longest_first" if both else True, "max_length": self.max_tokens}
        encoded = processor(*texts, **cut, padding=False, return_attention_mask=False)
        return {name: encoded[name] for name in ("input_ids", "token_type_ids")[: 1 + both] if name in encoded}

    def logits(self, module: Any, batch: dict[str, Any]) -> Any:
        return module(**_text.inputs(batch)).logits

    def embed(self, module: Any, batch: dict[str, Any]) -> Any:
        return _text.mean_pooled(module, batch)
