"""What a model folder's files tell about its tokenizer and its kind, before anything is opened. Where they do not tell, nothing is
wrong: a hub id that is not here, or a tokenizer whose class brings its own special tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from heliostat.core.errors import UserError

GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Tokenizer classes that have the special tokens their files name, and no others."""
TEMPLATES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
DECODERS, NO_DECODERS = ("ForCausalLM", "LMHeadModel"), ("WithLMHeadModel",)
ENCODERS = ("bert", "deberta-v2", "electra", "roberta")
"""Ends of model types that see what comes after a word too."""


def lacks_mask(model: Any) -> bool:
    """Whether the files say that there is no mask token."""
    facts = _facts(model, "tokenizer_config.json")
    if facts.get("tokenizer_class") not in GENERIC:
        return False
    return not facts.get("mask_token") and not _facts(model, "special_tokens_map.json").get("mask_token")


def lacks_template(model: Any) -> bool:
    """Whether the files say that there is no chat template."""
    folder = _folder(model)
    if folder is None or not any((folder / name).exists() for name in ("tokenizer_config.json", "tokenizer.json")):
        return False
    return not _facts(model, "tokenizer_config.json").get("chat_template") and not any((folder / name).exists() for name in TEMPLATES)


def decodes(model: Any) -> bool:
    """Whether the model was pretrained to go on with a text."""
    names = [str(name) for name in model.facts().get("architectures") or []]
    return any(name.endswith(DECODERS) and not name.endswith(NO_DECODERS) for name in names)


def looks_both_ways(model: Any) -> bool:
    """Whether the model was pretrained to see what comes after a word too."""
    facts = model.facts()
    names = [str(name) for name in facts.get("architectures") or []]
    encodes = any(name.endswith(("ForMaskedLM", *NO_DECODERS)) for name in names) or str(facts.get("model_type")).endswith(ENCODERS)
    return encodes and not decodes(model) and not facts.get("is_decoder")


def _folder(model: Any) -> Path | None:
    try:
        folder = model.folder()
    except UserError:
        return None
    return folder if folder and folder.is_dir() else None


def _facts(model: Any, name: str) -> dict[str, Any]:
    folder = _folder(model)
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
