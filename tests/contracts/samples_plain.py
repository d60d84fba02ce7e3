"""One small sample of each task that reads text and answers with one thing per row: what a source holds, and a model to try it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heliostat.commands.tiny import PLAIN, POSITIONS, THEMES, write_model

TEXTS = ["water boat bank", "an old oven", "the", "seed soil rose shovel leaf root hedge bloom weed lawn " * 3]
NEW = ["the small garden", "a knife", "boat boat", "quiet water and a late flood " * 4]


@dataclass(frozen=True)
class Sample:
    """Rows as a source holds them, and what they are tried on."""

    values: list[dict[str, Any]]
    labels: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    write: Callable[[Path], None] = write_model


def write_t5(folder: Path) -> None:
    """A random T5 of two layers that knows the words of the tiny project."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    words = ["<pad>", "</s>", "<unk>", *PLAIN, *(word for theme in THEMES.values() for word in theme)]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=POSITIONS, **names).save_pretrained(folder)
    torch.manual_seed(3)
    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    config = T5Config(vocab_size=len(words), decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, dropout_rate=0.1, **sizes)
    T5ForConditionalGeneration(config).save_pretrained(folder)


def write_bart(folder: Path) -> None:
    """A random BART of two layers with the same tokenizer."""
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    write_t5(folder)
    torch.manual_seed(3)
    sizes = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    ends = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1, "decoder_start_token_id": 1, "forced_eos_token_id": 1}
    words = 3 + len(PLAIN) + sum(map(len, THEMES.values()))
    config = BartConfig(vocab_size=words, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=POSITIONS, **sizes, **ends)
    BartForConditionalGeneration(config).save_pretrained(folder)


def rows(**columns: list[Any]) -> list[dict[str, Any]]:
    """Columns as rows, `TEXTS` among them."""
    return [{"text": text, **{name: values[i] for name, values in columns.items()}} for i, text in enumerate(TEXTS)]


SAMPLES = {
    "text_classification": [
        Sample(rows(label=["sport", "art", "art", "money"]), ["art", "money", "sport"]),
        Sample(rows(text_pair=NEW, label=["yes", "no", "no", "yes"]), ["no", "yes"], {"pair": True}),
    ],
    "multilabel_classification": [
        Sample(rows(labels=[["sport", "art"], "art|money", [], ["money"]]), ["art", "money", "sport"]),
        Sample(rows(text_pair=NEW, labels=["a;b", "b", "", "a"]), ["a", "b"], {"pair": True, "separator": ";"}),
    ],
    "text_regression": [
        Sample(rows(target=[3, "4.5", -1.0, "1e2"])),
        Sample(rows(text_pair=NEW, target=[0.0, 0.5, 1.0, 0.25]), options={"pair": True}),
    ],
    "seq2seq": [
        Sample(rows(target_text=NEW), options={"prefix": "the "}, write=write_t5),
        Sample(rows(target_text=NEW), write=write_bart),
    ],
}
"""Name of a task to its samples."""
