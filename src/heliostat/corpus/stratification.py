"""Rows with several names each dealt to train, valid and test, so that every split has its share of every name.

Iterative stratification (Sechidis, Tsoumakas, Vlahavas, "On the Stratification of Multi-Label Data", 2011): the name with the
fewest rows left is dealt first, each of its rows to the split that lacks most of that name; rare names would find no good place
once frequent ones are dealt. Rows that must stay together are one unit; units of a name go large ones first, then in the order of
a hash of (seed, unit), so the split is the same whatever order the rows came in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heliostat.core.errors import UserError
from heliostat.core.seeds import derive
from heliostat.corpus.config import SplitConfig
from heliostat.corpus.split import SPLITS, targets

Inside = dict[int, int]
"""Rows of a unit with each name, by the name's number."""


def split(ids: Sequence[str], names: Sequence[Sequence[str]], units: Sequence[int], config: SplitConfig, seed: int) -> np.ndarray:
    """Index into `SPLITS` for every row [rows]; `names` are those of each row, `units` numbers the unit of each row.

    A name of fewer than three units cannot be in every split, and most likely is in train. Raises `UserError` when no three units
    are left in all.
    """
    members: dict[int, list[int]] = {}
    for row, unit in enumerate(units):
        members.setdefault(unit, []).append(row)
    if len(members) < len(SPLITS):
        raise UserError(
            f"corpus: {len(members)} rows or groups of rows that may be parted are left after cleaning; at least {len(SPLITS)} are needed,"
            f" one each for {', '.join(SPLITS)}. Add rows."
        )
    order = sorted(members.values(), key=lambda rows: (-len(rows), derive(seed, "split", min(ids[r] for r in rows))))
    index = {name: i for i, name in enumerate(sorted({name for row in names for name in row}))}
    insides = [_inside(rows, names, index) for rows in order]
    places = _deal(insides, [len(rows) for rows in order], len(index), config)
    out = np.zeros(len(ids), dtype=np.int64)
    for rows, place in zip(order, places, strict=True):
        out[rows] = place
    return out


def _inside(rows: Sequence[int], names: Sequence[Sequence[str]], index: dict[str, int]) -> Inside:
    found: Inside = {}
    for row in rows:
        for name in set(names[row]):
            found[index[name]] = found.get(index[name], 0) + 1
    return found


def _deal(insides: list[Inside], sizes: list[int], count: int, config: SplitConfig) -> list[int]:
    """The split of each unit; units are in the order in which those of one name are dealt."""
    units_of: list[list[int]] = [[] for _ in range(count)]
    left_C = np.zeros(count, dtype=np.int64)
    for unit, inside in enumerate(insides):
        for name, rows in inside.items():
            units_of[name].append(unit)
            left_C[name] += rows
    lack_C3 = np.stack([_wanted(int(rows), config) for rows in left_C]) if count else np.zeros((0, 3))
    lack_3 = _wanted(sum(sizes), config)
    places = [-1] * len(insides)

    def put(unit: int, place: int) -> None:
        places[unit] = place
        lack_3[place] -= sizes[unit]
        for name, rows in insides[unit].items():
            lack_C3[name, place] -= rows
            left_C[name] -= rows

    while (left_C > 0).any():
        rarest = int(np.where(left_C > 0, left_C, np.iinfo(np.int64).max).argmin())
        for unit in units_of[rarest]:
            if places[unit] < 0:
                put(unit, max(range(3), key=lambda s: (lack_C3[rarest, s], lack_3[s], -s)))
    for unit in (u for u, place in enumerate(places) if place < 0):
        put(unit, max(range(3), key=lambda s: (lack_3[s], -s)))
    _fill_empty(places, sizes)
    return places


def _wanted(rows: int, config: SplitConfig) -> np.ndarray:
    """Rows that train, valid and test should have of so many; fractions where they are too few for one each."""
    if rows >= len(SPLITS):
        return targets(rows, config).astype(np.float64)
    return rows * np.array([1 - config.valid - config.test, config.valid, config.test])


def _fill_empty(places: list[int], sizes: list[int]) -> None:
    """Large units can leave a split without a row: move the smallest unit there from the split with the most of them, in place."""
    for empty in range(3):
        if empty in places:
            continue
        fullest = max(range(3), key=lambda s: (places.count(s), -s))
        smallest = min((u for u, place in enumerate(places) if place == fullest), key=lambda u: (sizes[u], -u))
        places[smallest] = empty
