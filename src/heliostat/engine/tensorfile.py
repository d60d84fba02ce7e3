"""Safetensors files written straight from where the tensors are, hashed while they are written.

safetensors' own `save_file` copies everything first, and the file would have to be read again for its hash: on a fast disk that takes
longer than the disk. It is what reads them. Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
ALIGNED = 8


def write(path: Path, tensors: dict[str, Any], metadata: dict[str, str]) -> dict[str, Any]:
    """Write CPU tensors by name to `path` and wait for the disk; {"bytes", "sha256"} of the file. `OSError` when the disk is full."""
    parts = [memoryview(part) for part in _parts(tensors, metadata)]
    with ThreadPoolExecutor(1) as pool:
        hashed = pool.submit(_hash, parts)
        with path.open("wb", buffering=0) as file:
            for part in parts:
                while part.nbytes:
                    part = part[file.write(part) :]
            os.fsync(file.fileno())
        return {"bytes": sum(part.nbytes for part in parts), "sha256": hashed.result()}


def _parts(tensors: dict[str, Any], metadata: dict[str, str]) -> list[Any]:
    """The bytes of the file, in order: its header, then every tensor, wide types first so that each begins at a multiple of its width."""
    import torch

    ordered = sorted(tensors.items(), key=lambda each: (-each[1].element_size(), each[0]))
    header: dict[str, Any] = {"__metadata__": metadata}
    data, at = [], 0
    for name, tensor in ordered:
        size = tensor.numel() * tensor.element_size()
        dtype = DTYPES[str(tensor.dtype).removeprefix("torch.")]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
        if size:
            data.append(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
    head = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    head += b" " * (-len(head) % ALIGNED)
    return [len(head).to_bytes(8, "little") + head, *data]


def _hash(parts: Sequence[memoryview]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
