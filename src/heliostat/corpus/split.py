"""Rows dealt to train, valid and test: by class, never through a group, and the same whatever order they came in.

Rows that must stay together (near-duplicates, a group) are one unit. Units are taken in the order of a hash of (seed,
unit), large ones first, and each goes to the split that lacks most of its share. For single rows the shares of every
class come out exact, to the row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from heliostat.core.errors import UserError
from heliostat.core.seeds import derive
from heliostat.corpus.config import SplitConfig

SPLITS = ("train", "valid", "test")


def split(ids: Sequence[str], labels: Sequence[str], units: Sequence[int], config: SplitConfig, seed: int) -> np.ndarray:
    """Index into `SPLITS` for every row [rows]; `units` numbers the unit of each row.

    Raises `UserError` for every class that cannot have a row in each split.
    """
    members: dict[int, list[int]] = {}
    for row, unit in enumerate(units):
        members.setdefault(unit, []).append(row)
    counts = Counter(labels)
    _refuse_small(counts, labels, members)
    wanted = {label: targets(count, config) for label, count in counts.items()}
    have = {label: np.zeros(3, dtype=np.int64) for label in counts}
    order = sorted(members.values(), key=lambda rows: (-len(rows), derive(seed, "split", min(ids[r] for r in rows))))
    insides = [Counter(labels[r] for r in rows) for rows in order]
    places: list[int] = []
    for inside in insides:
        places.append(_best_place(inside, wanted, have))
        _count(have, inside, places[-1], 1)
    _fill_empty(insides, places, have)
    _refuse_empty(have, config)
    out = np.zeros(len(ids), dtype=np.int64)
    for rows, place in zip(order, places, strict=True):
        out[rows] = place
    return out


def targets(count: int, config: SplitConfig) -> np.ndarray:
    """Rows of a class of `count` rows for train, valid and test; at least one each."""
    valid, test = (max(1, round(count * share)) for share in (config.valid, config.test))
    while valid + test > count - 1 and max(valid, test) > 1:
        valid, test = (valid - 1, test) if valid >= test else (valid, test - 1)
    return np.array([count - valid - test, valid, test], dtype=np.int64)


def _best_place(inside: Counter[str], wanted: dict[str, np.ndarray], have: dict[str, np.ndarray]) -> int:
    """The split that is least overfilled by these rows; among equals the one that lacks most of its share."""
    over, lack = np.zeros(3), np.zeros(3)
    for label, count in inside.items():
        goal, now = wanted[label], have[label]
        over += np.maximum(0, now + count - goal)
        lack += count * (goal - now) / goal
    return min(range(3), key=lambda s: (over[s], -lack[s], s))


def _count(have: dict[str, np.ndarray], inside: Counter[str], place: int, sign: int) -> None:
    for label, count in inside.items():
        have[label][place] += sign * count


def _fill_empty(insides: list[Counter[str]], places: list[int], have: dict[str, np.ndarray]) -> None:
    """Large units can leave a class without a row in some split: move the smallest one there whose class has others."""
    smallest_first = sorted(range(len(insides)), key=lambda i: insides[i].total())
    for label in sorted(have):
        for empty in range(3):
            if have[label][empty]:
                continue
            for i in smallest_first:
                inside, place = insides[i], places[i]
                if label in inside and all(have[other][place] > count for other, count in inside.items()):
                    _count(have, inside, place, -1)
                    _count(have, inside, empty, 1)
                    places[i] = empty
                    break


def _refuse_small(counts: Counter[str], labels: Sequence[str], members: dict[int, list[int]]) -> None:
    holding = Counter(label for rows in members.values() for label in {labels[r] for r in rows})
    problems = []
    for label, count in sorted(counts.items()):
        if holding[label] < len(SPLITS):
            apart = "" if holding[label] == count else f" in {holding[label]} groups that must stay together"
            problems.append(
                f"corpus: class '{label}' has {count} rows{apart} after cleaning; at least {len(SPLITS)} that may be parted are needed,"
                f" one each for {', '.join(SPLITS)}. Add rows of this class, or take it out of the data."
            )
    if problems:
        raise UserError(problems)


def _refuse_empty(have: dict[str, np.ndarray], config: SplitConfig) -> None:
    problems = []
    for label, counts in sorted(have.items()):
        empty = [name for name, count in zip(SPLITS, counts, strict=True) if not count]
        if empty:
            by = f"the groups of '{config.group}' and near-duplicates" if config.group else "near-duplicates that stay together"
            problems.append(
                f"corpus.split: class '{label}' has {int(counts.sum())} rows, and none of them can be in {' and '.join(empty)}, because"
                f" {by} may not be parted. Add rows of this class in other groups, or choose another corpus.split.group."
            )
    if problems:
        raise UserError(problems)
