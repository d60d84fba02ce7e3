"""`heliostat init` for words with tags: which columns hold them, how the tags mark spans, and the config."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliostat.commands.sample import Sample
from heliostat.core.errors import UserError
from heliostat.core.tags import OUTSIDE, Scheme, as_bio, type_of

SCHEMES: tuple[Scheme, ...] = ("bio", "iob1", "bioes")
FITS = 0.98
"""Share of the rows whose tags must be of a scheme; the others may be mistakes."""
MANY_TAGS = 200
WORD_NAMES = ("tokens", "words")


@dataclass(frozen=True)
class Tagged:
    """Rows of words with a tag each, as they were found."""

    tokens: str
    """Column of the words."""
    tags: str
    """Column of their tags."""
    scheme: Scheme
    rows: list[list[str]]
    """Words of the rows."""
    types: Counter[str]
    """Spans of each type, or words of each tag where tags mark no spans."""


def tagged(sample: Sample) -> Tagged | None:
    """The words and tags of a sample; None when its rows hold none."""
    tokens, tags = _columns(sample)
    if tokens is None or tags is None:
        return None
    rows = [(row[tokens], [str(tag) for tag in row[tags]]) for row in sample.rows if _fit(row.get(tokens), row.get(tags))]
    scheme: Scheme = next((scheme for scheme in SCHEMES if _share(rows, scheme) >= FITS), "plain")
    types: Counter[str] = Counter()
    for _, each in rows:
        made = as_bio(each, scheme)
        if isinstance(made, list):
            types.update(each if scheme == "plain" else [type_of(tag) or "span" for tag in made if tag[0] == "B"])
    if not types:
        raise UserError(f"column '{tags}' tags every word {OUTSIDE} in the first rows: there is nothing to learn.")
    return Tagged(tokens, tags, scheme, [[str(word) for word in words] for words, _ in rows], types)


def _columns(sample: Sample) -> tuple[str | None, str | None]:
    """(column of words, column of tags): lists of one length in every row, of which the tags are few."""
    lists = [name for name in sample.columns() if any(isinstance(row.get(name), list) and row[name] for row in sample.rows)]
    texts = [name for name in lists if all(isinstance(word, str) for row in sample.rows for word in row.get(name) or ())]
    named = [name for name in texts if name.lower() in WORD_NAMES]
    for tokens in [*named, *texts]:
        for tags in lists:
            both = [(row.get(tokens), row.get(tags)) for row in sample.rows]
            few = len({str(tag) for _, each in both for tag in each or ()}) <= MANY_TAGS
            if tags != tokens and few and sum(_fit(*pair) for pair in both) >= FITS * len(both):
                return tokens, tags
    return None, None


def _fit(words: Any, tags: Any) -> bool:
    return isinstance(words, list) and isinstance(tags, list) and len(words) == len(tags) > 0


def _share(rows: list[tuple[list[Any], list[str]]], scheme: Scheme) -> float:
    return sum(isinstance(as_bio(tags, scheme), list) for _, tags in rows) / max(1, len(rows))


def config_text(target: Path, name: str, sample: Sample, found: Tagged, model: str, tokens: int) -> str:
    """The YAML: what differs from the defaults, with a comment for each choice."""
    source = sample.source
    parts = [f"use: {source.name()}", f"paths: {json.dumps(source.paths, ensure_ascii=False)}"]
    parts += [f"encodings: [{', '.join(source.encodings)}]"] if source.encodings != ["utf-8"] else []
    renamed = {"tokens": found.tokens, "tags": found.tags}
    own = ", ".join(f"{name}: {json.dumps(column, ensure_ascii=False)}" for name, column in renamed.items() if name != column)
    columns = f"  columns: {{{own}}}\n" if own else ""
    scheme = f", scheme: {found.scheme}" if found.scheme != "bio" else ""
    file = shlex.quote(str(target))
    return f"""\
# Written by `heliostat init`. What it will do: heliostat plan {file}   Do it: heliostat run {file}
# Everything that is not here has a default; `heliostat list` shows the parts, `heliostat schema` all settings.
name: {name}

task: {{use: token_classification{scheme}, max_tokens: {tokens}}}  # the rest of a longer row is not read
model: {{path: {json.dumps(model, ensure_ascii=False)}}}

corpus:
  sources:
    - {{{", ".join(parts)}}}
{columns}
train:
  epochs: 3  # passes over the training rows
  batch: 16
  optimizer: {{use: adamw, lr: 5.0e-5}}
  head_lr: 2.0e-3  # the new head learns faster than the encoder, which knows the language already

# A sweep: each trial trains with other values; bad ones are stopped early. Remove it to train once.
tune:
  trials: 8
  space:
    train.optimizer.lr: {{log_uniform: [2.0e-5, 2.0e-4]}}
    train.head_lr: {{log_uniform: [5.0e-4, 5.0e-3]}}

# report: {{gates: [{{metric: {"tag_accuracy" if found.scheme == "plain" else "span_f1"}, min: 0.8}}]}}  # a run that misses it exits 3
"""
