"""What a pretrained model's weights are, from the headers of its files alone: names, shapes, counts. Nothing is loaded."""

from __future__ import annotations

import json
import math
import re
import struct
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path

from heliostat.core.errors import UserError
from heliostat.tasks.config import ModelConfig
from heliostat.train.config import TrainConfig

LAYER = re.compile(r"(?:^|\.)(?:layers?|h|block)\.(\d+)\.")
EMBEDDINGS = re.compile(r"(?:^|\.)(?:embeddings|embed_tokens|wte|wpe)\.")


def parameters(model: ModelConfig) -> int | None:
    """Parameters of the encoder; None when only a download could tell."""
    shapes = _shapes(model)
    if shapes:
        return sum(map(math.prod, shapes.values()))
    folder = _folder(model)
    return (sum(p.stat().st_size for p in folder.glob("pytorch_model*.bin")) // 4 or None) if folder else None


def trained(model: ModelConfig, train: TrainConfig) -> int | None:
    """Parameters that a training changes, the head left out: what gradients, optimiser states and checkpoints are as large as."""
    shapes, whole = _shapes(model), parameters(model)
    if whole is None or not shapes:
        return whole
    if train.adapter is not None:
        return train.adapter.adds(matrices(model))
    return sum(math.prod(shape) for name, shape in shapes.items() if not _frozen(name, train.freeze))


def matrices(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name to shape, of the modules that hold a matrix and are no embeddings; empty when headers do not tell."""
    found = {name.removesuffix(".weight"): shape for name, shape in _shapes(model).items() if name.endswith(".weight") and len(shape) == 2}
    return {name: shape for name, shape in found.items() if not name.endswith("embeddings") and not EMBEDDINGS.search(name)}


def names(model: ModelConfig) -> list[str]:
    """Names of all parameters; empty when headers do not tell."""
    return list(_shapes(model))


def _frozen(name: str, layers: int | list[str]) -> bool:
    if isinstance(layers, list):
        return any(fnmatch(name, pattern) for pattern in layers)
    match = LAYER.search(name)
    return layers > 0 and (int(match.group(1)) < layers if match else bool(EMBEDDINGS.search(name)))


def _shapes(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Tensor name to shape, of the layers that are kept."""
    folder = _folder(model)
    found: dict[str, tuple[int, ...]] = {}
    for file in sorted(folder.glob("*.safetensors")) if folder else ():
        found |= _header(file, file.stat().st_size)
    return {name: shape for name, shape in found.items() if _kept(name, model.layers)}


def _folder(model: ModelConfig) -> Path | None:
    """Where the files are; None when they are not here."""
    try:
        folder = model.folder()
    except UserError:
        return None
    return folder if folder and folder.is_dir() else None


def _kept(name: str, layers: int | None) -> bool:
    match = LAYER.search(name)
    return layers is None or match is None or int(match.group(1)) < layers


@lru_cache(maxsize=64)
def _header(file: Path, size: int) -> dict[str, tuple[int, ...]]:
    """Shapes in one safetensors file; empty when it is none."""
    try:
        with file.open("rb") as f:
            (length,) = struct.unpack("<Q", f.read(8))
            header = json.loads(f.read(length)) if length < size else {}
    except (OSError, ValueError, struct.error):
        return {}
    return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
