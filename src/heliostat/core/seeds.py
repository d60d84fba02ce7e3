"""Randomness is passed and named: every stream of random numbers is a pure function of what it is for.

`rng(seed, "order", epoch)` gives the same numbers on any machine, in any process, whatever ran before.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the purpose `names`, from the run's `seed`."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """A numpy generator for the purpose `names`."""
    return np.random.Generator(np.random.PCG64(derive(seed, *names)))
