"""General text among the team's own: one corpus of both, whose epochs have the share that was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from heliostat.artifacts import Corpus
from heliostat.core import seeds
from heliostat.pretrain.config import enough
from heliostat.train.extending import extended, train_rows

GENERAL = "general"
"""What the column `domain` says of a general row."""


def mixed(folder: Path, corpus: Corpus, general: Corpus, share: float, seed: int) -> Corpus:
    """`corpus` with general rows in its train split, drawn from `seed`; its valid and test splits are its own.

    Written to `folder`, the same whenever it is written. `UserError` when there is too little general text for `share`.
    """
    import pyarrow as pa

    count = enough(share, corpus.rows["train"], general.rows["train"])
    other = train_rows(general)
    drawn = other.take(np.sort(seeds.rng(seed, "pretrain", "replay").choice(other.num_rows, count, replace=False)))
    drawn = drawn.set_column(drawn.column_names.index("domain"), "domain", pa.array([GENERAL] * count))
    return extended(folder, corpus, drawn)
