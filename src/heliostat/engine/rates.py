"""Learning rates of the parts of a model, as shares of the optimiser's: one for the head, falling ones down the encoder.

Layer-wise decay is the discriminative fine-tuning of Howard and Ruder (2018) as ELECTRA (Clark et al., 2020) writes it: what
lies near the input is of general use and moves little, what lies near the output is new to the task and moves most.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

LR_SCALE = "lr_scale"
"""Key of a parameter group: its learning rate as a share of the schedule's; 1 when it is not there."""

AFTER = "final_layer_norm"
"""The norm after the layers, wherever it is registered; some architectures have one of this name in every layer, too."""

Part = tuple[float, set[int]]
"""(share of the learning rate, ids of parameters)."""


def parts(module: Any, missing: Collection[str], *, head: float | None, decay: float) -> list[Part]:
    """Head and encoder, from output to input, each with its share; empty when every share is 1.

    The head is what lies outside of the encoder, and what the pretrained model lacks (`missing`, names of parameters); None is a
    share of 1. Which parts there are does not depend on the shares, so that optimiser states fit a training with others.
    """
    if head is None and decay == 1.0:
        return []
    whole = module.get_base_model() if hasattr(module, "get_base_model") else module  # adapters are inside of the layers they adapt
    body = getattr(whole, whole.base_model_prefix, whole)
    named = dict(whole.named_parameters())
    new = {id(named[name]) for name in missing if name in named}
    inside = {id(p) for p in body.parameters()} - new
    top = [(1.0 if head is None else head, {id(p) for p in module.parameters()} - inside)]
    if decay == 1.0:
        return [*top, (1.0, inside)]
    layers: dict[int, set[int]] = {}
    for depth, parameter in _depths(whole, body):
        layers.setdefault(depth, set()).add(id(parameter))
    return [*top, *((decay**depth, layers[depth] & inside) for depth in sorted(layers))]


def _depths(whole: Any, body: Any) -> Iterator[tuple[int, Any]]:
    """(layers between it and the top one, parameter) of the encoder: 0 is the top layer and what comes after it, one more than the
    lowest layer is what comes before that, the embeddings."""
    from heliostat.engine.models import encoder_layers

    _, _, stack = encoder_layers(whole)
    layer_of = {id(p): i for i, layer in enumerate(stack) for p in layer.parameters()}
    before = True
    for name, parameter in body.named_parameters():  # modules are registered in the order they compute in, but OPT's final norm
        layer = layer_of.get(id(parameter))
        if layer is None and AFTER in name:
            yield 0, parameter
            continue
        before = before and layer is None
        yield (len(stack) if before else 0) if layer is None else len(stack) - 1 - layer, parameter
