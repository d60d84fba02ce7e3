"""Contract of curricula."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from heliostat.core.family import Member


class Base(Member):
    """Rows from easy to hard, each exactly once in every epoch; what is easy is the member's to say.

    The model's competence rises from `start` to 1 over the first `span` epochs: at competence c it is given rows of the
    easiest share c (Platanios et al., 2019, arXiv:1903.09848). There a row is drawn again and again; here it is drawn
    once an epoch, so where the easy rows run out the next harder ones are taken. After `span` epochs the order is as
    random as without a curriculum. Rows that are equally hard come in random order.
    """

    needs_losses: ClassVar[bool] = False
    """Whether `keys` must be given the losses of a reference model."""

    start: float = Field(0.01, gt=0, le=1)
    """Share of the rows, the easiest ones, that training begins with."""
    span: float = Field(1.0, gt=0, le=1000)
    """Epochs until all rows are drawn from."""
    root: float = Field(2.0, ge=1, le=100)
    """Competence rises as this root of the time: 2 adds rows more and more slowly, 1 evenly."""
    randomness: float = Field(1.0, ge=0, le=1)
    """Share of each bucket that is drawn at random from the rows within competence; the rest are the easiest that are left."""
    buckets: int = Field(100, ge=1, le=1000)
    """Stretches of an epoch; competence rises from one to the next, and inside one rows come in random order."""
    hardest_first: bool = False
    """Turn it round: from hard to easy."""

    def problems(self, task: Any) -> list[str]:
        """Why it cannot be used for this task, as far as files tell, each beginning with an option's name or nothing."""
        return []

    def kept(self) -> str | None:
        """The column of the corpus that prepared rows must keep for it; None needs none."""
        return None

    @abstractmethod
    def keys(self, rows: Any, losses_N: np.ndarray | None) -> np.ndarray:
        """How hard each row is [rows], larger is harder; rows with NaN come last.

        `rows` has `lengths_N` and `column(name)` (a numpy array; `KeyError` when there is none); `losses_N` are a reference model's,
        where `needs_losses`. A `UserError` says what is missing.
        """

    def order(self, epoch: int, keys_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Indices into `keys_N` in training order: a permutation, a function of (epoch, keys, state of `rng`)."""
        rows = len(keys_N)
        shuffled = rng.permutation(rows)
        if epoch >= self.span:
            return shuffled
        hard_N = -keys_N if self.hardest_first else keys_N
        ranked = shuffled[np.argsort(hard_N[shuffled], kind="stable")]  # equally hard: as they were shuffled
        ends = np.round(np.linspace(0, rows, min(self.buckets, rows) + 1)).astype(np.int64)
        open_ = [self.competence(epoch + begin / max(1, rows)) * rows for begin in ends[:-1]]
        return ranked[drawn(ends, np.ceil(open_).astype(np.int64), self.randomness, rng)]

    def competence(self, epochs: float) -> float:
        """Share of the rows, the easiest ones, that are drawn from after so many epochs."""
        first = self.start**self.root
        return min(1.0, ((1.0 - first) * epochs / self.span + first) ** (1.0 / self.root))


def drawn(ends: np.ndarray, open_: np.ndarray, randomness: float, rng: np.random.Generator) -> np.ndarray:
    """Ranks 0 .. n-1 in training order: bucket b takes the places up to `ends[b + 1]`, from the ranks below `open_[b]`.

    Where fewer ranks are open than the places up to there, the next ones are opened. The share `randomness` of a bucket is
    drawn from all that are open and not yet taken; the rest are the lowest of them.
    """
    left = np.zeros(0, dtype=np.int64)  # open and not yet taken, rising
    opened, out = 0, []
    for begin, end, limit in zip(ends[:-1], ends[1:], open_, strict=True):
        until = max(opened, min(int(ends[-1]), max(int(end), int(limit))))
        left = np.concatenate([left, np.arange(opened, until)])
        opened = until
        size = int(end - begin)
        lowest = round((1.0 - randomness) * size)
        taken = np.zeros(len(left), dtype=bool)
        taken[:lowest] = True
        taken[lowest + rng.choice(len(left) - lowest, size - lowest, replace=False)] = True
        out.append(rng.permutation(left[taken]))
        left = left[~taken]
    return np.concatenate([*out, np.zeros(0, dtype=np.int64)])
