"""A random two-layer Llama with a tokenizer of whole words and a chat template, made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heliostat.commands.tiny import PLAIN, THEMES

WIDTH, LAYERS, POSITIONS = 32, 2, 64
SPECIAL = ("<pad>", "<unk>", "<start>", "<end>")
ROLES = ("system", "user", "assistant", "tool")
WORDS = (*PLAIN, *(word for theme in THEMES.values() for word in theme), *"Is it a ? b . Or c No , d yes no".split())
CHAT = (
    "{% for message in messages %}<start>{{ message['role'] }} {{ message['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<start>assistant {% endif %}"
)
"""A template in the manner of ChatML."""


def write_decoder(folder: Path, template: str | None = CHAT, **config: Any) -> Path:
    """A folder that plain `transformers` opens; its words are those of `commands/tiny` and a few more."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    vocabulary = dict.fromkeys([*SPECIAL, *ROLES, *WORDS])
    told = {"vocab_size": len(vocabulary), "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "intermediate_size": 2 * WIDTH}
    told |= {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": POSITIONS, "tie_word_embeddings": True}
    told |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    torch.manual_seed(7)
    LlamaForCausalLM(LlamaConfig(**{**told, **config})).save_pretrained(folder)
    write_tokenizer(folder, list(vocabulary), template)
    return folder


def write_tokenizer(folder: Path, words: list[str], template: str | None) -> None:
    """One token for each word; no token before or after a text."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inside = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    inside.pre_tokenizer = pre_tokenizers.Whitespace()
    inside.add_special_tokens([AddedToken(word, special=True) for word in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inside, pad_token="<pad>", unk_token="<unk>", eos_token="<end>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<start>"]})
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
