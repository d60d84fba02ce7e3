"""Contract of regularisers.

Shapes: B rows of a batch, T places, D width of the embeddings.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from heliostat.core.errors import UserError
from heliostat.core.family import Member


class Base(Member):
    """Further passes of a batch through the model (perturbed inputs, other dropout masks), whose losses join the objective's."""

    passes: ClassVar[int | None] = None
    """Forward passes of one batch; None when an option says."""

    @abstractmethod
    def total(self, objective: Any, forward: Any, batch: dict[str, Any]) -> Any:
        """The scalar to differentiate for one micro-batch: the objective's weighted sum and what is added to it.

        `forward(batch)` makes one pass and gives its units; `forward.inner(batch)` does so for a loss that is differentiated in
        here, and the last pass is none of these. `forward.module` is the model.
        """

    def problems(self, task: Any) -> list[str]:
        """Why it cannot be used for this task, each beginning with an option's name or nothing."""
        return []


class Shifted:
    """The output of the model's input embeddings, moved by `delta` [B, T, D] in every pass made while it is entered."""

    def __init__(self, module: Any):
        whole = module.get_base_model() if hasattr(module, "get_base_model") else module
        two = getattr(getattr(whole, "config", None), "is_encoder_decoder", False)  # what both sides share is called by neither
        self.kind = type(whole).__name__
        try:
            self.embeddings = (whole.get_encoder() if two else whole).get_input_embeddings()
        except (NotImplementedError, AttributeError):
            raise self._none() from None
        self.delta: Any = None

    def _none(self) -> UserError:
        told = f"it moves what a model's input embeddings give, and {self.kind} has none that give one tensor"
        return UserError(f"train.regularizer: {told}. Use r_drop, or none.")

    @contextmanager
    def by(self, delta: Any) -> Iterator[Shifted]:
        """Move by `delta`; None begins a delta of zeros in the first pass, which is then in `self.delta`."""
        import torch

        def move(_module: Any, _inputs: Any, output: Any) -> Any:
            if not isinstance(output, torch.Tensor):
                raise self._none()
            if self.delta is None:
                self.delta = torch.zeros_like(output, requires_grad=True)
            return output + self.delta

        self.delta = delta
        hook = self.embeddings.register_forward_hook(move)
        try:
            yield self
        finally:
            hook.remove()
        if self.delta is None:
            raise self._none()  # they were never asked


def gradient(loss: Any, delta: Any) -> Any:
    """The gradient of `loss` by `delta`; the graph stays for the backward pass to come."""
    import torch

    (found,) = torch.autograd.grad(loss, delta, retain_graph=True)
    return found.detach()


def to_length(gradient_BTD: Any, length: float) -> Any:
    """Each row scaled to an L2 norm of `length`; a row of zeros stays one."""
    flat = gradient_BTD.flatten(1).float()
    scale_B = length / flat.norm(dim=1).clamp(min=1e-12)
    return (gradient_BTD.float() * scale_B.view(-1, *([1] * (gradient_BTD.ndim - 1)))).to(gradient_BTD.dtype)


def within(delta_BTD: Any, length: float) -> Any:
    """Each row shortened to an L2 norm of at most `length`."""
    norm_B = delta_BTD.flatten(1).float().norm(dim=1)
    scale_B = (length / norm_B.clamp(min=1e-12)).clamp(max=1.0)
    return delta_BTD * scale_B.view(-1, *([1] * (delta_BTD.ndim - 1))).to(delta_BTD.dtype)
