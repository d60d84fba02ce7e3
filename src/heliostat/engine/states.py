"""The state of a training by parameter name: any number of workers opens it, at any ZeRO stage or with torch alone.

However it is divided, it is the same thing: for each trained parameter its weights in full precision and what the optimiser keeps
about it. Every worker writes the pieces it holds under their parameters' names, so nothing is gathered, and reads just what covers
the pieces it holds now. Step counters and the loss scale are JSON in the header of the file; nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from heliostat.core.errors import RunFailed
from heliostat.engine import checkpoints
from heliostat.engine.divided import Bucket, DividedEngine
from heliostat.engine.plain import MixedEngine

WEIGHTS = "weights"
SCALE = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")
"""What DeepSpeed's loss scalers change while they run."""


@dataclass(frozen=True)
class Piece:
    """Elements `start` to `start` + `numel` of a flattened parameter, and the `offset` at which a block holds them."""

    name: str
    shape: tuple[int, ...]
    start: int
    numel: int
    offset: int = 0

    @classmethod
    def whole(cls, name: str, shape: Any) -> Piece:
        """All of a parameter."""
        numel = 1
        for size in shape:
            numel *= size
        return cls(name, tuple(shape), 0, numel)

    def share(self, rank: int, world: int) -> Piece:
        """The part of it that `rank` writes when every worker holds it."""
        size = -(-self.numel // world)
        skip = min(rank * size, self.numel)
        return replace(self, start=self.start + skip, numel=min(size, self.numel - skip), offset=self.offset + skip)


@dataclass(frozen=True)
class Block:
    """One tensor that the optimiser steps on: a parameter, its copy in full precision, or a flat partition of many."""

    tensor: Any
    pieces: tuple[Piece, ...]
    is_parameter: bool = False
    """Whether it is the parameter itself, which has its weights already when the engine starts."""


@dataclass(frozen=True)
class Held:
    """What one worker's optimiser holds."""

    optimizer: Any
    """The torch optimiser inside."""
    blocks: tuple[Block, ...]
    divided: bool
    """Whether other workers hold other pieces; otherwise all hold the same."""


def collect(engine: Any, group: Any, *, copy: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """What this worker writes: CPU tensors by name, and notes that are plain JSON. What is on the CPU already is looked at where it is,
    for use before the next update, or with `copy` copied."""
    held = _held(engine)
    tensors: dict[str, Any] = {}
    notes: dict[str, Any] = {"pieces": [], "loss_scale": _loss_scale(engine.optimizer)}
    for block in held.blocks:
        state = held.optimizer.state.get(block.tensor, {})
        for piece in block.pieces:
            part = piece if held.divided else piece.share(group.rank, group.world)
            note: dict[str, Any] = {"name": piece.name, "shape": piece.shape, "start": part.start, "slots": [], "whole": [], "counters": {}}
            notes["pieces"].append(note)
            tensors[_key(WEIGHTS, note)] = _cut(block.tensor, part, copy)
            for key, value in state.items():
                kind = _kind(key, value, block.tensor)
                if kind == "counters":
                    note["counters"][key] = _told(value)
                elif kind == "slots":
                    note["slots"].append(key)
                    tensors[_key(f"optimizer.{key}", note)] = _cut(value, part, copy)
                else:
                    _refuse_divided(key, piece.name, held.divided)
                    if group.rank == 0:
                        note["whole"].append(key)
                        tensors[_key(f"optimizer.{key}", note)] = value.detach().to("cpu", copy=copy).contiguous()
    return tensors, notes


def _key(slot: str, note: dict[str, Any]) -> str:
    """The name of a piece's tensor in the file; a worker may hold several pieces of a parameter."""
    return f"{slot}/{note['name']}/{note['start']}"


def load_weights(module: Any, checkpoint: Path) -> None:
    """Put the saved weights into the trained parameters of a module that no engine has divided yet."""
    import torch

    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    with opened(checkpoint) as saved, torch.no_grad():
        shapes = {name: tuple(p.shape) for name, p in trained.items()}
        other = sorted(name for name in shapes.keys() | saved.shapes.keys() if shapes.get(name) != saved.shapes.get(name))
        if other:
            raise RunFailed(
                f"the checkpoint '{checkpoint}' is of another model: {len(other)} trained parameters differ, such as {other[0]}."
                f" Delete it to train from the start"
            )
        for name, p in trained.items():
            p.copy_(saved.read(WEIGHTS, Piece.whole(name, p.shape)).view(p.shape))


def restore(engine: Any, checkpoint: Path) -> None:
    """Put the saved state into an engine that was started on the weights of `load_weights`; workers need not wait for each other."""
    import torch

    held = _held(engine)
    with opened(checkpoint) as saved, torch.no_grad():
        for block in held.blocks:
            if block.pieces:
                state = _state(block, held, saved)
                held.optimizer.state.pop(block.tensor, None)
                if state:
                    held.optimizer.state[block.tensor] = state
        scaler = _scaler(engine.optimizer)
        for field, value in saved.loss_scale.items():
            if hasattr(scaler, field):
                setattr(scaler, field, value)


def _state(block: Block, held: Held, saved: Saved) -> dict[str, Any]:
    """What the optimiser knew about a block; its weights are written on the way."""
    import torch

    state: dict[str, Any] = {}
    counters: dict[str, Any] = {}
    for piece in block.pieces:
        if not block.is_parameter:
            _write(block.tensor, piece, saved.read(WEIGHTS, piece))
        for key in saved.keys("slots", piece.name):
            values = saved.read(f"optimizer.{key}", piece)
            if key not in state:
                new = torch.empty_like if piece.numel == block.tensor.numel() else torch.zeros_like
                state[key] = new(block.tensor, dtype=values.dtype)
            _write(state[key], piece, values)
        for key in saved.keys("whole", piece.name):
            _refuse_divided(key, piece.name, held.divided)
            state[key] = saved.read_whole(f"optimizer.{key}", piece.name).to(block.tensor.device)
        for key, told in saved.counters(piece.name).items():
            if counters.setdefault(key, told) != told:
                raise RunFailed(
                    f"the optimiser's '{key}' is {told} for {piece.name} and {counters[key]} for parameters it would share a"
                    f" partition with: these states cannot be divided. Go on with zero 0"
                )
    settings = held.optimizer.defaults
    on_device = settings.get("fused") or settings.get("capturable")
    for key, told in counters.items():  # placed as torch's own `load_state_dict` does
        state[key] = _counter(told, block.tensor.device if key != "step" or on_device else "cpu")
    return state


class Saved:
    """The states in a checkpoint, whoever wrote them."""

    def __init__(self, files: list[Any]):
        notes = [json.loads(file.metadata()["notes"]) for file in files]
        self._pieces: dict[str, list[tuple[Any, dict[str, Any]]]] = {}
        for file, note in zip(files, notes, strict=True):
            for fact in note["pieces"]:
                self._pieces.setdefault(fact["name"], []).append((file, fact))
        self.shapes = {name: tuple(found[0][1]["shape"]) for name, found in self._pieces.items()}
        self.loss_scale: dict[str, Any] = notes[0]["loss_scale"]

    def keys(self, kind: str, name: str) -> list[str]:
        """What the optimiser keeps about a parameter: one value per element ("slots"), or tensors of another shape ("whole")."""
        return list(dict.fromkeys(key for _, fact in self._pieces[name] for key in fact[kind]))

    def counters(self, name: str) -> dict[str, Any]:
        """Single numbers about a parameter."""
        return self._pieces[name][0][1]["counters"]

    def read(self, slot: str, piece: Piece) -> Any:
        """The values of `piece`, from whichever files have them; nothing else is read. It may be a view of a file: to be copied."""
        import torch

        parts, found = [], 0
        for file, fact in self._pieces[piece.name]:
            stored = file.get_slice(_key(slot, fact))
            begin = fact["start"]
            low, high = max(piece.start, begin), min(piece.start + piece.numel, begin + stored.get_shape()[0])
            if low < high:
                parts.append((low, stored[low - begin : high - begin]))
                found += high - low
        assert found == piece.numel, f"{slot} of {piece.name}: {found} of {piece.numel} elements were saved"
        ordered = [part for _, part in sorted(parts, key=lambda part: part[0])]
        return ordered[0] if len(ordered) == 1 else torch.cat(ordered)

    def read_whole(self, slot: str, name: str) -> Any:
        """A tensor that one worker wrote for all."""
        file, fact = next((file, fact) for file, fact in self._pieces[name] if fact["whole"])
        return file.get_tensor(_key(slot, fact))


@contextmanager
def opened(checkpoint: Path) -> Iterator[Saved]:
    """The states in a checkpoint, which must be valid."""
    from safetensors import safe_open

    with ExitStack() as stack:
        yield Saved([stack.enter_context(safe_open(path, framework="pt")) for path in checkpoints.state_files(checkpoint)])


def _held(engine: Any) -> Held:
    """What this worker's part of the engine holds, and under which names."""
    outer = engine.optimizer
    inner = getattr(outer, "optimizer", outer)
    names = {id(p): name for name, p in engine.module.named_parameters()}
    if isinstance(engine, DividedEngine) and engine.stage:
        return Held(outer, tuple(_shard(bucket, names) for bucket in engine.buckets), divided=True)
    if hasattr(outer, "fp32_partitioned_groups_flat"):
        blocks = [_flat_of_each(t, ps, names) for t, ps in zip(outer.fp32_partitioned_groups_flat, outer.fp16_groups, strict=True)]
        return Held(inner, tuple(blocks), divided=True)
    if hasattr(outer, "single_partition_of_fp32_groups"):
        blocks = [_flat_of_all(t, ps, names) for t, ps in zip(outer.single_partition_of_fp32_groups, outer.bit16_groups, strict=True)]
        return Held(inner, tuple(blocks), divided=True)
    if isinstance(engine, MixedEngine):
        pairs = engine.copies
    elif hasattr(outer, "fp32_groups"):
        pairs = [pair for groups in zip(outer.fp16_groups, outer.fp32_groups, strict=True) for pair in zip(*groups, strict=True)]
    else:
        assert inner is outer, f"no pieces are known of {type(outer).__name__}"
        pairs = [(p, p) for settings in outer.param_groups for p in settings["params"]]
    blocks = [Block(copy, (Piece.whole(names[id(p)], p.shape),), is_parameter=copy is p) for p, copy in pairs]
    return Held(inner, tuple(blocks), divided=False)


def _shard(bucket: Bucket, names: dict[int, str]) -> Block:
    """ZeRO 1 and 2 without DeepSpeed: buckets of parameters end to end, each cut into one shard per worker."""
    parts = ((names[id(part.parameter)], part) for part in bucket.mine())
    pieces = (Piece(name, tuple(part.parameter.shape), part.start, part.size, part.at) for name, part in parts)
    return Block(bucket.shard, tuple(pieces), is_parameter=True)


def _flat_of_all(flat: Any, parameters: list[Any], names: dict[int, str]) -> Block:
    """DeepSpeed's ZeRO 1 and 2: the parameters of a group end to end, cut into one partition per worker; what a worker has may begin and
    end inside a parameter."""
    found = []
    for p in parameters:
        if p._hp_mapping is not None:
            inside, at = p._hp_mapping.lp_fragment_address, p._hp_mapping.hp_fragment_address
            found.append(Piece(names[id(p)], tuple(p.shape), inside.start, inside.numel, at.start))
    return Block(flat, tuple(found))


def _flat_of_each(flat: Any, parameters: list[Any], names: dict[int, str]) -> Block:
    """ZeRO 3: each parameter is cut into one partition per worker, the last ones padded; a worker's partitions lie end to end."""
    import torch.distributed as dist

    found, offset = [], 0
    for p in parameters:
        size = p.partition_numel()
        start = dist.get_rank(p.ds_process_group) * size
        numel = min(size, p.ds_numel - start)
        if numel > 0:
            found.append(Piece(names[id(p)], tuple(p.ds_shape), start, numel, offset))
        offset += size
    return Block(flat, tuple(found))


def _kind(key: str, value: Any, tensor: Any) -> str:
    """How an optimiser's value belongs to the tensor it steps on: "slots" (one per element), "counters" (one), "whole" (otherwise)."""
    shape = getattr(value, "shape", None)
    if shape is None or (key == "step" and value.numel() == 1):
        return "counters"
    if shape == tensor.shape:
        return "slots"
    return "counters" if value.numel() == 1 else "whole"


def _refuse_divided(key: str, name: str, divided: bool) -> None:
    if divided:
        raise RunFailed(
            f"the optimiser keeps '{key}' about the whole of {name}, which cannot be divided among workers. Train with zero 0,"
            f" or with an optimiser that keeps its state element by element, such as adamw"
        )


def _cut(tensor: Any, piece: Piece, copy: bool) -> Any:
    return tensor.detach().reshape(-1)[piece.offset : piece.offset + piece.numel].to("cpu", copy=copy)


def _write(tensor: Any, piece: Piece, values: Any) -> None:
    if piece.numel == tensor.numel():
        tensor.copy_(values.view(tensor.shape))  # a parameter may lie in memory in another order than its elements
    else:
        tensor.view(-1)[piece.offset : piece.offset + piece.numel].copy_(values)


def _told(value: Any) -> Any:
    """A counter as JSON."""
    return {"dtype": str(value.dtype).removeprefix("torch."), "value": value.tolist()} if hasattr(value, "dtype") else value


def _counter(told: Any, device: Any) -> Any:
    import torch

    return torch.tensor(told["value"], dtype=getattr(torch, told["dtype"]), device=device) if isinstance(told, dict) else told


def _scaler(optimizer: Any) -> Any:
    """What scales the loss in fp16, None for torch alone."""
    return getattr(optimizer, "loss_scaler", None) or getattr(optimizer, "loss_scale_config", None)


def _loss_scale(optimizer: Any) -> dict[str, Any]:
    scaler = _scaler(optimizer)
    return {field: getattr(scaler, field) for field in SCALE if hasattr(scaler, field)}
