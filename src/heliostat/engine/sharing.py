"""Dealing a global batch: which worker takes which rows in which forward pass, with little padding and even work.

The update is the same sum whoever adds it up, so rows of one length may go together: sorted by length, a batch is cut
into one stretch of equal tokens for each forward pass, and each stretch is dealt over the workers. Every worker then
has rows of one length in a pass, as many tokens as the others, and the longest rows do not meet in one pass.
"""

from __future__ import annotations

import numpy as np


def dealt(whole: np.ndarray, lengths_N: np.ndarray, world: int, accumulation: int) -> list[list[np.ndarray]]:
    """Rows of `whole` for worker w in forward pass a, at [w][a]; each row once, a pure function.

    `lengths_N` are the tokens of every row of the corpus. A part is empty only where rows are fewer than parts.
    """
    rows = whole[np.argsort(-lengths_N[whole], kind="stable")]
    stretches = np.split(rows, cuts(lengths_N[rows], accumulation, least=world))
    passes = [_over_workers(stretch, world, first=number % 2) for number, stretch in enumerate(stretches)]
    return [[parts[worker] for parts in passes] for worker in range(world)]


def cuts(lengths_R: np.ndarray, parts: int, *, least: int) -> np.ndarray:
    """Where rows are cut into `parts` stretches of about equal tokens, each of at least `least` rows.

    Where there are not enough rows for that, the stretches are of equal rows.
    """
    rows = len(lengths_R)
    number = np.arange(1, parts)
    if rows < parts * least:
        return np.cumsum([len(part) for part in np.array_split(lengths_R, parts)])[:-1]
    before_R = np.cumsum([0, *lengths_R])
    wanted = np.searchsorted(before_R * parts, before_R[-1] * number)
    spare = np.maximum.accumulate(wanted - number * least)  # rows beyond the least: where these do not fall, no stretch is too short
    return np.clip(spare, 0, rows - parts * least) + number * least


def _over_workers(rows: np.ndarray, world: int, *, first: int) -> list[np.ndarray]:
    """Rows dealt to and fro, so that nobody has the longer one of every pair; the stretches begin at either end in turn."""
    turn, worker = np.divmod(np.arange(len(rows)), world)
    owner = np.where(turn % 2 == first, worker, world - 1 - worker)
    return [rows[owner == w] for w in range(world)]
