"""General text among the team's own: one corpus of both, whose epochs have the share that was asked for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from heliostat.artifacts import Corpus
from heliostat.core import seeds
from heliostat.pretrain.config import enough

GENERAL = "general"
"""What the column `domain` says of a general row."""


def mixed(folder: Path, corpus: Corpus, general: Corpus, share: float, seed: int) -> Corpus:
    """`corpus` with general rows in its train split, drawn from `seed`; its valid and test splits are its own.

    Written to `folder`, the same whenever it is written. `UserError` when there is too little general text for `share`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = enough(share, corpus.rows["train"], general.rows["train"])
    own, other = (_train(each) for each in (corpus, general))
    chosen = np.sort(seeds.rng(seed, "pretrain", "replay").choice(other.num_rows, count, replace=False))
    drawn = other.take(chosen)
    drawn = drawn.set_column(drawn.column_names.index("domain"), "domain", pa.array([GENERAL] * count))
    columns = [name for name in own.column_names if name in drawn.column_names]
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "train").mkdir(parents=True)
    for number, table in enumerate((own, drawn)):
        pq.write_table(table.select(columns), folder / "train" / f"part-{number:05d}.parquet", compression="zstd")
    for split in ("valid", "test"):
        (folder / split).mkdir()
        for file in corpus.split(split):
            _link(file, folder / split / file.name)
    return corpus.model_copy(update={"path": folder, "rows": {**corpus.rows, "train": own.num_rows + count}})


def _train(corpus: Corpus) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pa.concat_tables([pq.read_table(file) for file in corpus.split("train")])


def _link(source: Path, target: Path) -> None:
    """One file in two places; a copy on a file system without hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
