"""A text in, a text out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from heliostat.core.values import text_of
from heliostat.tasks import _likelihood, _text
from heliostat.tasks.base import IGNORED, Base

DECODER_LAYERS = ("num_decoder_layers", "decoder_layers")


class Seq2seq(Base):
    """Text to text (translation, summaries, rewriting) with any Hugging Face encoder-decoder (T5, BART, Marian ...).

    The loss is the mean over target tokens. Models are judged by the likelihood they give the reference texts, not by texts they
    write; they are timed from the raw text to the first token. `model.layers` keeps the first so many layers of the encoder
    and of the decoder.
    """

    auto: ClassVar[str] = "AutoModelForSeq2SeqLM"
    answers_are: ClassVar[str] = "likelihood"
    names_from: ClassVar[str | None] = None
    base: ClassVar[Any] = "itself"
    pipeline_tag: ClassVar[str] = "text2text-generation"

    max_tokens: int = Field(128, ge=8, le=131_072)
    """Longer inputs are cut at the end, the prefix included."""
    max_target_tokens: int = Field(128, ge=2, le=131_072)
    """Longer targets are cut at the end."""
    prefix: str = ""
    """Stands before every input, as T5 was taught to expect: "translate English to German: "."""
    metric: str = "token_loss"
    """Member of metrics that ranks models of this task."""
    also: list[str] = Field(["perplexity"])
    """Further members of metrics that are reported."""

    def columns(self) -> dict[str, str]:
        return {"text": "what is read", "target_text": "what is to be written"}

    def row(self, values: dict[str, Any]) -> dict[str, Any] | str:
        text, fault = text_of(values["text"])
        target, no_target = text_of(values["target_text"], "target_text")
        return fault or no_target or {"text": text, "target_text": target, "label": ""}

    def problems(self, model: Any) -> list[str]:
        most, facts = model.positions(), model.facts()
        if facts and not facts.get("is_encoder_decoder"):
            return [f"task: seq2seq needs an encoder-decoder (T5, BART, Marian ...), and '{model.path}' is none."]
        if most is None or self.max_target_tokens <= most:
            return _text.unreadable(self, model)
        given = f"{self.max_target_tokens} asked for, and '{model.path}' writes at most {most}"
        return [*_text.unreadable(self, model), f"task.max_target_tokens: {given}. Allowed: 2 to {most}."]

    def shorten(self, config: Any, layers: int) -> None:
        super().shorten(config, layers)
        for name in DECODER_LAYERS:
            if isinstance(depth := getattr(config, name, None), int):
                setattr(config, name, min(layers, depth))

    def tokenise(self, columns: dict[str, list[Any]], processor: Any, labels: Sequence[str]) -> dict[str, list[Any]]:
        texts = [self.prefix + text for text in columns["text"]]
        options: dict[str, Any] = {"truncation": True, "padding": False, "return_attention_mask": False}
        inputs = processor(texts, max_length=self.max_tokens, **options)["input_ids"]
        if "target_text" not in columns:  # one place without a target: the decoder makes its first step
            return {"input_ids": inputs, "labels": [[IGNORED]] * len(texts), "units": [0.0] * len(texts)}
        written = processor(text_target=columns["target_text"], max_length=self.max_target_tokens, **options)["input_ids"]
        return {"input_ids": inputs, "labels": written, "units": [float(len(ids)) for ids in written]}

    def targets(self, columns: dict[str, list[Any]], labels: Sequence[str]) -> list[Any]:
        return [0] * len(columns["text"])  # the likelihood is of the targets already

    def collate(self, rows: dict[str, list[Any]], processor: Any) -> dict[str, Any]:
        return {**_text.sequences(rows, processor), **_likelihood.targets(_text.padded(rows["labels"], IGNORED))}

    def logits(self, module: Any, batch: dict[str, Any]) -> Any:
        inner = getattr(module, "module", module)
        if hasattr(inner, "prepare_decoder_input_ids_from_labels"):
            decoded = {"decoder_input_ids": inner.prepare_decoder_input_ids_from_labels(labels=batch["labels"])}
        else:  # a few architectures shift inside: they work out a loss as well, which is not used
            decoded = {"labels": batch["labels"]}
        return module(**_text.inputs(batch), **decoded).logits

    def units(self, logits: Any, batch: dict[str, Any]) -> dict[str, Any]:
        return _likelihood.units(logits, batch)

    def answers(self, logits: Any, batch: dict[str, Any]) -> Any:
        return _likelihood.answers(logits, batch)

    def stacked(self, targets: list[Any]) -> np.ndarray:
        return np.asarray(targets, dtype=np.int64)

    def embed(self, module: Any, batch: dict[str, Any]) -> Any:
        return _text.mean_pooled(module.get_encoder(), {name: batch[name] for name in ("input_ids", "attention_mask")})
