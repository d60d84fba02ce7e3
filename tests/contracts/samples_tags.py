"""Samples of tasks that answer with a tag per word: as many words in every row, and not as many tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heliostat.commands.tiny import write_model
from heliostat.core.tags import outputs

WORDS = [["water-boat", "bank", "old"], ["an", "oven", "pan"], ["the", "rose", "lawn-hedge-weed-bloom"], ["soil"] * 3]
SPANS = [["B-LOC", "I-LOC", "O"], ["O", "B-PER", "B-LOC"], ["O", "O", "O"], ["B-PER", "I-PER", "I-PER"]]


@dataclass(frozen=True)
class Sample:
    """Rows as a source holds them, and what they are tried on."""

    values: list[dict[str, Any]]
    labels: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    write: Callable[[Path], None] = write_model


def rows(tags: list[list[str]]) -> list[dict[str, Any]]:
    return [{"tokens": words, "tags": each} for words, each in zip(WORDS, tags, strict=True)]


SAMPLES = {
    "token_classification": [
        Sample(rows(SPANS), outputs(("B-LOC", "B-PER"))),
        Sample(rows(SPANS), outputs(("B-LOC", "B-PER")), {"subwords": "all"}),
        Sample(rows([["DET", "NN", "NN"], ["DET", "NN", "VB"]] * 2), ["DET", "NN", "VB"], {"scheme": "plain"}),
    ],
}
"""Name of a task to its samples."""
