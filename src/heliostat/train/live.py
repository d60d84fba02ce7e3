"""A training in a gang, as an objective or a suite sees it: the weights of now, before anything is exported."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heliostat.engine.predict import batch_of, embedded, on
from heliostat.engine.streams import Rows


@dataclass(frozen=True)
class Live:
    """What may be asked about a training. Every worker of the gang asks the same things in the same order."""

    module: Any
    """The model with its weights of now."""
    task: Any
    processor: Any
    """What turns raw input into model inputs."""
    valid: Rows
    logits_NC: np.ndarray
    """Answers [rows, ...] about the valid rows by the weights of now."""
    targets_N: np.ndarray
    group: Any
    seed: int
    busy_s: float
    """Seconds of training and validation so far."""

    def embed(self, predictor: Any, inputs: Sequence[Any], *, task: Any) -> np.ndarray:
        """Unit vectors float32 [inputs, width]: what `Engine.embed` gives for an exported model."""
        with _evaluating(self.module):
            return embedded(self.module, {self.task.reads: list(inputs)}, self.task, self.processor, self.group)

    def latency_ms(self, rows: int) -> float:
        """Median milliseconds of one validation row at a time, tokenising left out."""
        import torch

        took = []
        with _evaluating(self.module), torch.no_grad():
            for i in [0, 0, *range(min(rows, len(self.valid)))]:  # the first two warm up
                batch = on(batch_of(self.valid, np.array([i]), self.task, self.processor, (self.seed, "latency")), self.group.device)
                began = time.perf_counter()
                self.task.logits(self.module, batch).cpu()
                took.append(1e3 * (time.perf_counter() - began))
        return float(np.median(took[2:]))

    def parameters(self) -> int:
        """Parameters of the whole model, wherever ZeRO keeps them."""
        from heliostat.engine.vocabulary import untrained

        return untrained(self.module) + sum(getattr(p, "ds_numel", None) or p.numel() for p in self.module.parameters())


class _evaluating:
    """The module in evaluation mode for a while."""

    def __init__(self, module: Any):
        self.module, self.was_training = module, module.training

    def __enter__(self) -> None:
        self.module.eval()

    def __exit__(self, *exc: object) -> None:
        self.module.train(self.was_training)
