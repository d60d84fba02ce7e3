"""Samples of tasks that learn from text itself: encoders that tell hidden words, decoders that go on with a text or answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heliostat.commands.tiny import write_model
from tiny_decoder import write_decoder

TEXTS = ["water boat bank", "an old oven", "the pan", "seed soil rose shovel leaf root hedge bloom weed lawn " * 3]


@dataclass(frozen=True)
class Sample:
    """Rows as a source holds them, and what they are tried on."""

    values: list[dict[str, Any]]
    labels: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    write: Callable[[Path], Any] = write_decoder


def write_encoder(folder: Path) -> None:
    """The tiny encoder with the head it was pretrained with."""
    import torch
    from transformers import AutoModelForMaskedLM

    write_model(folder)
    torch.manual_seed(3)
    AutoModelForMaskedLM.from_pretrained(folder).save_pretrained(folder)


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": " ".join(text.split()[:3])}, {"role": "assistant", "content": f"yes {text.split()[-1]}"}]


ASKED = [{"text": text.split()[0], "text_pair": text.split()[1], "target_text": text.split()[-1]} for text in TEXTS]
SAMPLES = {
    "masked_lm": [
        Sample([{"text": text} for text in TEXTS], write=write_encoder),
        Sample([{"text": text} for text in TEXTS], options={"whole_word": True, "mask_share": 0.5}, write=write_encoder),
    ],
    "causal_lm": [
        Sample([{"text": text} for text in TEXTS]),
        Sample([{"messages": chat(text)} for text in TEXTS], options={"form": "chat"}),
        Sample(ASKED, options={"form": "prompt", "cut": "question", "system": "yes"}),
    ],
}
"""Name of a task to its samples."""
