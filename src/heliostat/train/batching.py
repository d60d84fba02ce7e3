"""Which rows make which update: global batches of rows or of tokens, in random order or along a curriculum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from heliostat.core import seeds
from heliostat.engine.streams import Batches, Rows
from heliostat.engine.token_batches import TokenBatches
from heliostat.train.config import TrainConfig


def batches(train: TrainConfig, rows: Rows, seed: int, *, losses_N: np.ndarray | None = None, **share: Any) -> Batches | TokenBatches:
    """The global batches of a training on the rows that have something to train on.

    `share` are a worker's `rank`, the `world` size and its forward passes (`accumulation`) per update; `losses_N` are those of a reference
    model about rows of the corpus, where the curriculum asks for them.
    """
    index_N = rows.trainable()
    order = _ordered(train, rows, index_N, seed, losses_N)
    if train.batch_tokens is None:
        return Batches(index_N, train.batch, seed=seed, **share).along(order)
    plain = Batches(index_N, 1, seed=seed).along(order)
    return TokenBatches(plain.order, rows.lengths_N, train.batch_tokens, **share)


def _ordered(
    train: TrainConfig, rows: Rows, index_N: np.ndarray, seed: int, losses_N: np.ndarray | None
) -> Callable[[int], np.ndarray] | None:
    """Epoch to a permutation of the trainable rows; None is a random one."""
    curriculum = train.curriculum
    if curriculum is None:
        return None
    keys_N = curriculum.keys(rows, None if losses_N is None else losses_N[rows.origin_N])[index_N]
    return lambda epoch: curriculum.order(epoch, keys_N, seeds.rng(seed, "order", epoch))


def rows_of_update(train: TrainConfig, lengths_N: np.ndarray, workers: int) -> int:
    """Rows of one update over all workers: as they are set, or about so many where it is their tokens that count."""
    if train.batch_tokens is None:
        return train.batch
    return max(workers, round(train.batch_tokens / max(1.0, float(lengths_N.mean()))))


def interval(train: TrainConfig, made: Batches | TokenBatches) -> int:
    """Steps between validations."""
    return max(1, round(train.validate_every * made.steps(1)))
