"""`heliostat init` for folders of pictures or recordings: which they are, and the config."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from heliostat.commands.sample import SUFFIXES
from heliostat.core.errors import UserError
from heliostat.corpus.sources.audio_folders import AudioFolders
from heliostat.corpus.sources.image_folders import ImageFolders
from heliostat.tasks.config import ModelConfig

KINDS = (ImageFolders, AudioFolders)
MODELS = {"image": "google/vit-base-patch16-224-in21k", "audio": "openai/whisper-tiny"}
"""What people start from; named when none is given."""


@dataclass(frozen=True)
class Found:
    """A folder of class folders."""

    source: str
    """Member of corpus/sources."""
    part: str
    """image or audio."""
    classes: Counter[str]


def media(data: Path) -> Found | None:
    """The pictures or recordings in the class folders of `data`, whichever are more; None for tables or fewer than two classes."""
    tables = tuple(end for ends in SUFFIXES.values() for end in ends)
    if not data.is_dir() or any(p.name.removesuffix(".gz").endswith(tables) for p in data.iterdir() if p.is_file()):
        return None
    found = [
        Found(kind.name(), kind.part, Counter(file.parent.name for file in kind(paths=[str(data)]).expand(str(data)))) for kind in KINDS
    ]
    best = max(found, key=lambda each: each.classes.total())
    return best if len(best.classes) > 1 else None


def choose_model(given: str | None, found: Found) -> str:
    """The model a person named: none that sees or hears comes with a package."""
    if given is not None:
        return given
    raise UserError(
        f"'{found.source}' was found, and no pretrained model for {found.part} is installed. Name one with --model: a folder with"
        f" config.json and *.safetensors, or a hub id such as {MODELS[found.part]}."
    )


def config_text(target: Path, name: str, data: Path, found: Found, model: str) -> str:
    """The YAML: what differs from the defaults, with a comment for each choice."""
    file = shlex.quote(str(target))
    seconds = ", seconds: 10" if found.part == "audio" else ""
    depth = ModelConfig(path=model).depth() or 0
    student = f"""
# A student with fewer layers, taught by the ensemble; remove it when size does not matter.
distil:
  layers: {max(1, depth // 2)}
"""
    return f"""\
# Written by `heliostat init`. What it will do: heliostat plan {file}   Do it: heliostat run {file}
# Everything that is not here has a default; `heliostat list` shows the parts, `heliostat schema` all settings.
name: {name}

task: {{use: {found.part}_classification{seconds}}}{"  # the rest of a longer recording is not heard" if seconds else ""}
model: {{path: {json.dumps(model, ensure_ascii=False)}}}

corpus:
  sources:
    - {{use: {found.source}, paths: [{json.dumps(str(data), ensure_ascii=False)}]}}

train:
  epochs: 3  # passes over the training rows
  batch: 16

# A sweep: each trial trains with other values; bad ones are stopped early. Remove it to train once.
tune:
  trials: 8
  space:
    train.optimizer.lr: {{log_uniform: [3.0e-5, 3.0e-4]}}
    train.schedule.warmup: {{uniform: [0.0, 0.2]}}

# The best trials as one; remove it to keep the best single one.
ensemble: {{}}
{student if depth else ""}
# report: {{gates: [{{metric: accuracy, min: 0.9}}]}}  # a run that misses it exits 3
"""
