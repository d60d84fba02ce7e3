"""More training rows beside those of a corpus, whose valid and test splits stay as they are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from heliostat.artifacts import Corpus


def extended(folder: Path, corpus: Corpus, rows: Any) -> Corpus:
    """`corpus` with `rows` (an Arrow table) after its training rows, written to `folder`, the same whenever it is written.

    The train split has the columns of `corpus`; what `rows` lacks of them is null there.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    own = train_rows(corpus)
    columns = [rows.column(f.name).cast(f.type) if f.name in rows.column_names else pa.nulls(rows.num_rows, f.type) for f in own.schema]
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "train").mkdir(parents=True)
    for number, table in enumerate((own, pa.Table.from_arrays(columns, schema=own.schema))):
        pq.write_table(table, folder / "train" / f"part-{number:05d}.parquet", compression="zstd")
    for split in ("valid", "test"):
        (folder / split).mkdir()
        for file in corpus.split(split):
            _link(file, folder / split / file.name)
    return corpus.model_copy(update={"path": folder, "rows": {**corpus.rows, "train": own.num_rows + rows.num_rows}})


def train_rows(corpus: Corpus) -> Any:
    """The training rows as one Arrow table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pa.concat_tables([pq.read_table(file) for file in corpus.split("train")])


def _link(source: Path, target: Path) -> None:
    """One file in two places; a copy on a file system without hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
