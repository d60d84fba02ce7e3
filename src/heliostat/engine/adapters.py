"""Adapters through PEFT: put in before training, merged for export."""

from __future__ import annotations

from typing import Any

from heliostat.core.errors import UserError


def wrap(module: Any, lora: dict[str, Any], missing: list[str], seed: int) -> Any:
    """`module` with low-rank adapters; only they and the new head (`missing`) are trained. `UserError` when no module matches."""
    import torch
    from peft import LoraConfig as Peft
    from peft import get_peft_model

    targets = lora["targets"]
    linear = sorted({name.rsplit(".", 1)[-1] for name, m in module.named_modules() if isinstance(m, torch.nn.Linear)})
    if not any(name.endswith(target) for target in targets for name, m in module.named_modules() if isinstance(m, torch.nn.Linear)):
        raise UserError(f"train.lora.targets: {targets} match no linear module of this model. It has: {', '.join(linear)}.")
    head = sorted({name.split(".", 1)[0] for name in missing if not name.startswith(module.base_model_prefix + ".")})
    head = head or [n for n, _ in module.named_children() if n != module.base_model_prefix]
    torch.manual_seed(seed)
    return get_peft_model(
        module,
        Peft(
            r=lora["r"],
            lora_alpha=lora["alpha"],
            lora_dropout=lora["dropout"],
            target_modules=targets,
            modules_to_save=head or None,
            bias="none",
        ),
    )


def merged(module: Any) -> Any:
    """The plain model with its adapters folded into the weights; a model without adapters as it is."""
    return module.merge_and_unload() if hasattr(module, "merge_and_unload") else module
