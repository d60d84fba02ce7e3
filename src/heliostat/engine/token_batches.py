"""Global batches of so many tokens instead of so many rows.

A batch takes rows in training order until one more would exceed the budget: a pure function of the epoch's order and
the lengths, whatever the number of workers. An epoch has as many batches as its order happens to give.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from heliostat.engine.sharing import dealt
from heliostat.engine.streams import Micro


def boundaries(lengths_in_order: np.ndarray, budget: int) -> np.ndarray:
    """The place in the order where each batch begins, and the end [batches + 1]; a row longer than `budget` is a batch of its own."""
    ends_N = np.cumsum(lengths_in_order, dtype=np.int64)
    starts = [0]
    while starts[-1] < len(ends_N):
        at = starts[-1]
        before = int(ends_N[at - 1]) if at else 0
        starts.append(max(at + 1, int(np.searchsorted(ends_N, before + budget, side="right"))))
    return np.array(starts)


class TokenBatches:
    """The global batches of a training, and one worker's share of each; stands in the place of `streams.Batches`.

    `order(epoch)` gives the row indices of an epoch in training order, each row once; `lengths_N` the tokens of every row.
    To know where an epoch begins, the epochs before it are ordered once.
    """

    def __init__(
        self,
        order: Callable[[int], np.ndarray],
        lengths_N: np.ndarray,
        budget: int,
        accumulation: int = 1,
        rank: int = 0,
        world: int = 1,
    ):
        self.order, self.lengths_N, self.budget, self.accumulation = order, lengths_N, budget, accumulation
        self.rank, self.world = rank, world
        self._first = [0]  # the step at which each epoch begins, as far as they are known
        self._known: tuple[int, np.ndarray, np.ndarray] | None = None

    @property
    def rows(self) -> int:
        """Rows of an epoch."""
        return len(self._of(0)[0])

    def steps(self, epochs: float) -> int:
        """Updates of `epochs` passes over the rows, at least one; of the last, part pass its share of the batches."""
        whole = int(epochs)
        return max(1, self._begins(whole) + round((epochs - whole) * self._batches(whole)))

    def epoch(self, step: int) -> int:
        """The epoch that update `step` belongs to."""
        while self._first[-1] <= step:
            self._begins(len(self._first))
        return int(np.searchsorted(self._first, step, side="right")) - 1

    def progress(self, step: int) -> float:
        """Epochs that are done before update `step`."""
        epoch = self.epoch(step)
        return epoch + (step - self._first[epoch]) / self._batches(epoch)

    def whole(self, step: int) -> np.ndarray:
        """Row indices of the global batch of update `step`."""
        epoch = self.epoch(step)
        rows, starts = self._of(epoch)
        place = step - self._first[epoch]
        return rows[starts[place] : starts[place + 1]]

    def share(self, step: int) -> list[Micro]:
        """This worker's forward passes of update `step`; every worker has the same number of them."""
        whole = self.whole(step)
        parts = dealt(whole, self.lengths_N, self.world, self.accumulation)[self.rank]
        return [Micro(part) if len(part) else Micro(whole[:1], filler=True) for part in parts]

    def _batches(self, epoch: int) -> int:
        """Global batches of an epoch."""
        return self._begins(epoch + 1) - self._begins(epoch)

    def _begins(self, epoch: int) -> int:
        """The step at which an epoch begins."""
        while len(self._first) <= epoch:
            self._first.append(self._first[-1] + len(self._of(len(self._first) - 1)[1]) - 1)
        return self._first[epoch]

    def _of(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """(rows in order, where each batch begins) of an epoch; the last one asked for is kept."""
        if self._known is None or self._known[0] != epoch:
            rows = self.order(epoch)
            self._known = (epoch, rows, boundaries(self.lengths_N[rows], self.budget))
        return self._known[1], self._known[2]
