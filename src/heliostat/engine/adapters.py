"""Adapters in a model: put in before training (PEFT's, or a mixture of our own), merged or saved beside it for export."""

from __future__ import annotations

import fnmatch
import inspect
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from heliostat.core.errors import UserError


def put_in(module: Any, adapter: Any, missing: list[str], seed: int) -> Any:
    """`module` with `adapter`, its first values drawn from `seed`; only it and the new head (`missing`) are trained."""
    import torch

    torch.manual_seed(seed)
    head = head_of(module, missing)
    if not adapter.merges:  # what is saved beside the base has all that the base does not have, a pooler inside of it too
        inside = (name for name in missing if name.split(".", 1)[0] not in head)
        head = [*head, *sorted({name.rpartition(".")[0] for name in inside})]
    changed, new = adapter.put_in(module, head), set(missing)
    for name, parameter in changed.named_parameters():
        if name.removeprefix("base_model.model.") in new and parameter.is_floating_point():
            parameter.requires_grad_(True)  # what was drawn knows nothing yet, wherever it stands
    return changed


def head_of(module: Any, missing: list[str]) -> list[str]:
    """Names of the children that hold what the pretrained model did not have; what is beside its body when it had everything.

    A model that is its own body (T5) has nothing beside it. A child that predicts words is none of them: its weights are those of the
    embeddings, and a copy would part them.
    """
    prefix, words = module.base_model_prefix, module.get_output_embeddings()
    found = sorted({name.split(".", 1)[0] for name in missing if not name.startswith(prefix + ".")})
    children = [name for name, _ in module.named_children()]
    found = found or ([name for name in children if name != prefix] if prefix in children else [])
    return [name for name in found if words is None or all(part is not words for part in module.get_submodule(name).modules())]


def matrices(module: Any) -> dict[str, Any]:
    """Name to module, of all that multiply by a matrix."""
    import torch
    from transformers.pytorch_utils import Conv1D

    passed = past_forward(module)
    return {name: part for name, part in module.named_modules() if isinstance(part, torch.nn.Linear | Conv1D) and id(part) not in passed}


def past_forward(module: Any) -> set[int]:
    """Ids of the modules of which only the weights are read, by torch's attention in one piece (WavLM): nobody calls them."""
    kinds: list[tuple[Any, Any]] = [(parent, type(parent)) for parent in module.modules()]
    return {id(child) for parent, kind in kinds for name, child in parent.named_children() if name in _read_by(kind)}


@lru_cache
def _read_by(kind: Any) -> frozenset[str]:
    """Names of the children whose weights a class of modules gives to torch's attention in one piece."""
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):
        return frozenset()
    return frozenset(re.findall(r"self\.(\w+)\.weight", source) if "multi_head_attention_forward(" in source else ())


def with_peft(module: Any, kind: str, settings: dict[str, Any], at: Any, head: list[str], also: list[str] | None = None) -> Any:
    """`module` in PEFT's wrapping; `at` is the adapter member that chooses modules, or None."""
    import peft

    settings = settings | {"modules_to_save": head or None}
    if at is not None:
        settings |= {"target_modules": [*_chosen(module, at, head), *(also or [])]}
    return peft.get_peft_model(module, getattr(peft, kind)(**settings))


def _chosen(module: Any, adapter: Any, head: list[str]) -> list[str]:
    names = [name for name in matrices(module) if name.split(".", 1)[0] not in head]
    if wrong := adapter.unmatched(names):
        raise UserError([f"train.adapter.{problem}" for problem in wrong])
    return adapter.chosen(names)


def with_mixture(module: Any, settings: dict[str, Any], adapter: Any, head: list[str]) -> Any:
    """`module` with a mixture of low-rank experts at each chosen module."""
    from heliostat.engine.mixture import Mixed

    chosen = _chosen(module, adapter, head)
    module.requires_grad_(False)
    for name in chosen:
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, Mixed(module.get_submodule(name), **settings))
    for name in head:
        module.get_submodule(name).requires_grad_(True)
    return module


def in_four_bits(module: Any, head: list[str]) -> None:
    """Keep the matrices of `shrinkable` in 4 bits (NormalFloat, Dettmers et al., 2023), in place; rounded on their way to the GPU."""
    import bitsandbytes
    import torch

    for name, part in shrinkable(module, head).items():
        small = bitsandbytes.nn.Linear4bit(
            part.in_features, part.out_features, part.bias is not None, torch.bfloat16, quant_type="nf4", compress_statistics=True
        )
        small.load_state_dict(part.state_dict())
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, small)


def shrinkable(module: Any, head: list[str]) -> dict[str, Any]:
    """Name to module, of the matrices that bear fewer bits: all but the head's, what predicts words, and what transformers keeps in fp32.

    T5 casts its hidden states to the type of such a weight (`wo`), which 4 bits are not.
    """
    import torch

    words = module.get_output_embeddings()
    whole = [*(module._keep_in_fp32_modules or ()), *(module._keep_in_fp32_modules_strict or ())]
    passed = past_forward(module)
    return {
        name: part
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.Linear)
        and name.split(".", 1)[0] not in head
        and part is not words
        and id(part) not in passed
        and not any(fnmatch.fnmatch(f".{name}.", f"*.{kept}.*") for kept in whole)
    }


def merged(module: Any) -> Any:
    """The plain model with its adapters folded into the weights; one without adapters, or with some that cannot be folded, as it is."""
    import sys

    if hasattr(module, "merge_and_unload") and not module.active_peft_config.is_prompt_learning:
        return module.merge_and_unload()
    if "heliostat.engine.mixture" in sys.modules:
        from heliostat.engine.mixture import Mixed

        for name, part in list(module.named_modules()):
            if isinstance(part, Mixed):
                parent, _, own = name.rpartition(".")
                setattr(module.get_submodule(parent), own, part.folded())
    return module


ADAPTER_FILE = "adapter_config.json"


def beside(folder: Path, base: Any) -> Any:
    """The adapter saved in `folder` around `base`, as `peft` opens it."""
    import peft

    return peft.PeftModel.from_pretrained(base, folder)
