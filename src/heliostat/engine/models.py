"""Models in a worker: opened once, copied per training, exported and verified.

A gang holds the base weights once; a trial copies them in memory. A head that the pretrained model does not have is
drawn from the training's own seed, so the second trial of a gang starts exactly as a fresh process would.
"""

from __future__ import annotations

import copy
import fnmatch
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from heliostat.core import seeds
from heliostat.core.errors import RunFailed, UserError, nearest
from heliostat.core.family import dump
from heliostat.core.manifest import read_json, write_json
from heliostat.engine import adapters, rates
from heliostat.engine.copies import Original
from heliostat.engine.orders import ModelSource
from heliostat.engine.streams import processor

KEPT = 3
FACTS = "heliostat.json"


class Store:
    """The models a worker keeps open, least recently used first out; each is opened inside of `opens(its folder or hub id)`."""

    def __init__(self, opens: Callable[[str], AbstractContextManager[Any]] = nullcontext) -> None:
        self._opens = opens
        self._open: OrderedDict[tuple[Any, ...], tuple[Original, list[str]]] = OrderedDict()

    def opened(self, source: ModelSource, labels: tuple[str, ...] | None, task: Any) -> Any:
        """The model as it is on disk, in evaluation mode, on the device where it was used last; do not change it."""
        return self._entry(source, labels, task)[0].module

    def fresh(self, source: ModelSource, labels: tuple[str, ...], task: Any, seed: int) -> Any:
        """A copy to train, on the CPU, its new head drawn from `seed`."""
        original, missing = self._entry(source, labels, task)
        module = original.copy()
        draw_missing(module, missing, seed)
        return module.train()

    def missing(self, source: ModelSource, labels: tuple[str, ...], task: Any) -> list[str]:
        """Parameters the pretrained model does not have."""
        return self._entry(source, labels, task)[1]

    def _entry(self, source: ModelSource, labels: tuple[str, ...] | None, task: Any) -> tuple[Original, list[str]]:
        key = (source, labels, task.name(), tuple(getattr(task, name) for name in task.model_reads))
        if key not in self._open:
            with self._opens(source.folder):
                module, missing = open_model(source, labels, task)
                processor(task, source.folder, source.revision)  # a hub's may have to be downloaded too
            self._open[key] = Original(module), missing
            while len(self._open) > KEPT:
                self._open.popitem(last=False)
        self._open.move_to_end(key)
        return self._open[key]


def open_model(source: ModelSource, labels: tuple[str, ...] | None, task: Any) -> tuple[Any, list[str]]:
    """(module, names of parameters the folder did not have), or a `UserError` that says why it cannot be opened.

    What the folder did not have is the same at every opening, so that a base model gives the same answers every time.
    """
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    folder = Path(source.folder)
    if (folder / adapters.ADAPTER_FILE).exists():
        told = read_json(folder / FACTS)
        base, _ = open_model(ModelSource.model_validate(told["base"]), labels, task)
        return adapters.beside(folder, base).eval(), []
    try:
        module, missing = task.model(source.folder, list(labels) if labels is not None else None, source.layers, source.revision)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"model.path: '{source.folder}' cannot be opened: {str(error).splitlines()[0]}") from error
    draw_missing(module, missing, 0)  # a training draws them anew from its own seed
    if source.spread is not None:
        keep_spread(module, source.spread)
    return module.eval(), sorted(missing)


def draw_missing(module: Any, missing: list[str], seed: int) -> None:
    """Initialise the named parameters from `seed`: matrices normal with the config's range, scales of norms one, biases zero."""
    import torch

    deviation = getattr(module.config, "initializer_range", 0.02)
    parameters = dict(module.named_parameters())
    for name in missing:
        generator = torch.Generator().manual_seed(seeds.derive(seed, "head", name))
        with torch.no_grad():
            if parameters[name].ndim >= 2:
                parameters[name].normal_(0.0, deviation, generator=generator)
            else:
                parameters[name].fill_(1.0 if name.endswith("weight") else 0.0)


def set_dropout(module: Any, share: float) -> None:
    """Every dropout of `module`, those inside attention too, drops `share`."""
    import torch

    for child in module.modules():
        if isinstance(child, torch.nn.Dropout):
            child.p = share
        for name, value in vars(child).items():  # some architectures call the function, with a share of their own
            if name.endswith(("dropout", "dropout_prob")) and isinstance(value, float):
                setattr(child, name, share)


def spread(layers: int, keep: int) -> list[int]:
    """`keep` of `layers` layer indices, evenly spaced, the first and the last among them (one: the first)."""
    return sorted({int(i) for i in np.round(np.linspace(0, layers - 1, keep))})


def keep_spread(module: Any, keep: int) -> None:
    """Drop encoder layers in place, keeping `keep` evenly spaced ones."""
    parent, name, layers = encoder_layers(module)
    if keep > len(layers):
        raise UserError(f"distil.layers: {keep} layers asked for, and the model it starts from has {len(layers)}.")
    setattr(parent, name, type(layers)([layers[i] for i in spread(len(layers), keep)]))
    depth_config(module).num_hidden_layers = keep


def freeze(module: Any, layers: int | list[str]) -> None:
    """Leave the first `layers` encoder layers and the embeddings out of training, or what patterns of names say, in place."""
    if isinstance(layers, list):
        return _freeze_named(module, layers)
    parent, name, stack = encoder_layers(module)
    if layers > len(stack):
        raise UserError(f"train.freeze: {layers} layers asked for, and the model has {len(stack)}. Use at most {len(stack)}.")
    for part in [*before(module, parent, name), *stack[:layers]]:
        part.requires_grad_(False)


def before(module: Any, parent: Any, name: str) -> list[Any]:
    """What an input passes before it comes to the layers: the parts that stand before them in the module, its embeddings among them.

    For sound that is the whole convolutional front.
    """
    path = next(path for path, child in module.named_modules() if child is parent)
    found, at = [], module
    for step in [*(path.split(".") if path else []), name]:
        for other, child in at.named_children():
            if other == step:
                break
            if other != rates.AFTER:
                found.append(child)
        at = getattr(at, step)
    return found


def _freeze_named(module: Any, patterns: list[str]) -> None:
    named = dict(module.named_parameters())
    for pattern in patterns:
        found = fnmatch.filter(named, pattern)
        if not found:
            close = nearest(pattern, named)
            hint = f" Did you mean '{close}'?" if close else ""
            some = ", ".join(list(named)[:8])
            raise UserError(f"train.freeze: '{pattern}' matches no parameter.{hint} There are {some} ...")
        for name in found:
            named[name].requires_grad_(False)
    if not any(p.requires_grad for p in named.values()):
        raise UserError(f"train.freeze: {patterns} freeze every parameter, and nothing is left to train. Leave the head out of them.")


def encoder_layers(module: Any) -> tuple[Any, str, Any]:
    """(the module that holds the list of encoder layers, its name there, the list)."""
    depth = getattr(depth_config(module), "num_hidden_layers", None)
    for parent in module.modules():
        for name, child in parent.named_children():
            if _is_stack(child, depth):
                apart = [other for other, beside in parent.named_children() if other != name and _is_stack(beside, depth)]
                if apart:  # XLM, Flaubert
                    lists = ", ".join([name, *apart])
                    raise UserError(
                        f"model: {type(module).__name__} keeps the parts of its layers in lists of their own ({lists}); distil.layers,"
                        " train.freeze: N and train.layer_decay need whole layers. Freeze by patterns of names, or take another model."
                    )
                return parent, name, child
    told = "encoder layers" if depth is None else f"{depth} encoder layers"
    raise UserError(
        f"model: no list of {told} was found in {type(module).__name__}; distil.layers, train.freeze and train.layer_decay need one."
    )


def compile_layers(module: Any) -> None:
    """Compile every layer that is there several times, in place, or the whole module where there is none; names of weights stay.

    Layers have one code: it is compiled once, and again for the first other length of a sequence, and for answers without gradients.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    for part in [part for part in module.modules() if isinstance(part, GradientCheckpointingLayer)] or [module]:
        part.compile()


def _is_stack(child: Any, depth: int | None) -> bool:
    """Whether it is as many layers; a list without a matrix is a stack of convolutions before the encoder."""
    import torch

    return isinstance(child, torch.nn.ModuleList) and len(child) == depth and any(p.ndim == 2 for p in child.parameters())


def depth_config(module: Any) -> Any:
    """The part of the module's config that says how many encoder layers there are."""
    return getattr(module.config, "vision_config", module.config)


def settle(module: Any) -> None:
    """Put the weights that a task's own parametrisations give in their place, and whole embeddings, for good: no other program knows
    of what a training had instead."""
    import torch

    from heliostat.engine import vocabulary

    vocabulary.restore(module)
    for part in list(module.modules()):
        given = part._modules.get("parametrizations") or {}
        if given and all(type(each).__module__.startswith("heliostat.") for every in given.values() for each in every):
            # torch's `remove_parametrizations` changes the class, which a copy that PEFT has made shares; an architecture's own stay
            values = {name: getattr(part, name).detach().clone() for name in given}
            del part._modules["parametrizations"]
            part.__class__ = part.__class__.__bases__[0]
            for name, value in values.items():
                part.register_parameter(name, torch.nn.Parameter(value))


def count(module: Any) -> int:
    """Parameters, shared ones once."""
    return sum(p.numel() for p in module.parameters())


def folder_bytes(folder: Path) -> int:
    """Bytes of the weights in a model folder."""
    return sum(p.stat().st_size for pattern in ("*.safetensors", "*.bin") for p in folder.glob(pattern))


def raw_logits(task: Any, module: Any, batch: dict[str, Any]) -> np.ndarray:
    """What the model gives for one batch, float32."""
    import torch

    with torch.no_grad():
        return task.logits(module, batch).float().numpy()


@contextmanager
def _wrapped_in_nothing() -> Iterator[None]:
    """The model to be saved is known to be no DeepSpeed engine: accelerate would import DeepSpeed, for half a second or more, to see."""
    from accelerate.utils import other

    asks, other.is_deepspeed_available = other.is_deepspeed_available, lambda: False
    try:
        yield
    finally:
        other.is_deepspeed_available = asks


Probe = tuple[dict[str, Any], np.ndarray]
"""A batch, and the trained model's own logits for it [rows, ...]."""


def export(module: Any, out: Path, *, base: Any, source: ModelSource, processor: Any, task: Any, probe: Probe) -> dict[str, Any]:
    """Save `module` to `out`, reopen it as a user would, and check it before it counts.

    `base` (from `source`) is the model training started from; the probe was taken before saving, with adapters not yet merged.
    An adapter that cannot be merged is saved alone, to be put beside its base. Returns {"params", "bytes"}.
    """
    import torch

    batch, before = probe
    out.mkdir(parents=True, exist_ok=True)
    settle(module)
    for config in getattr(module, "peft_config", {}).values():
        config.revision = source.revision  # what opens the adapter beside its base opens that base
    with _wrapped_in_nothing():
        module.save_pretrained(out, safe_serialization=True)
    processor.save_pretrained(out)
    alone = (out / adapters.ADAPTER_FILE).exists()
    if alone:
        again, info = adapters.beside(out, copy.deepcopy(base)), dict[str, Any](missing_keys=[], unexpected_keys=[])
    else:
        again, info = task.reopen(out)
    state, original = again.state_dict(), base.state_dict()
    empty = [name for name, value in state.items() if value.numel() == 0]
    if info["missing_keys"] or info["unexpected_keys"] or empty:
        wrong = {k: sorted(info[k])[:5] for k in ("missing_keys", "unexpected_keys")}
        raise RunFailed(f"the exported model in '{out}' is not whole: {wrong}, empty tensors {empty[:5]}.")
    if all(name in original and torch.equal(state[name], original[name]) for name in state):
        raise RunFailed(f"the exported model in '{out}' equals the one it started from: nothing was learned, or no adapter was merged.")
    after = raw_logits(task, again.eval(), batch)
    gap = float(np.abs(after - before).max())
    if not gap <= 1e-3 * (1.0 + float(np.abs(before).max())):  # float32 addition order of a merged adapter stays far below this
        raise RunFailed(f"the exported model in '{out}' answers differently from the trained one (largest gap {gap:.2g} in logits).")
    size = folder_bytes(out) + (folder_bytes(Path(source.folder)) if alone else 0)
    facts = {"params": count(again), "bytes": size, "largest_logit_gap": gap}
    told = {"task": dump(task), "verified": True} | ({"base": source.model_dump()} if alone else {})
    write_json(out / FACTS, {**facts, **told})
    return facts
