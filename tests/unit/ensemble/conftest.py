"""A validation split on disk and trained models that are only their saved logits."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heliostat.artifacts import Corpus, Model
from heliostat.core.progress import Progress
from heliostat.core.seeds import rng
from heliostat.tasks.text_classification import TextClassification

LABELS = ("art", "money", "sport")


@pytest.fixture
def room(tmp_path):
    """targets_N, corpus, task, ctx, and `member(name, logits)`."""
    targets_N = rng(1, "test", "room").integers(0, 3, 90)
    for part, rows in enumerate(np.split(targets_N, [50])):
        file = tmp_path / "corpus" / "valid" / f"{part:05d}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"text": ["t"] * len(rows), "label": [LABELS[t] for t in rows]}), file)
    (tmp_path / "ensemble").mkdir()

    def member(name, logits_NC):
        path = tmp_path / f"{name}.npy"
        np.save(path, np.asarray(logits_NC, dtype=np.float32))
        return Model(fingerprint=name, name=name, stage="tune", path=tmp_path / name, labels=LABELS, valid=path)

    return SimpleNamespace(
        targets_N=targets_N,
        corpus=Corpus(fingerprint="c", path=tmp_path / "corpus", labels=LABELS, rows={"valid": 90}, dropped={}, read=90),
        task=TextClassification(),
        ctx=SimpleNamespace(folder=tmp_path / "ensemble", fingerprint="mark", seed=7, show=Progress(), name="ensemble", engine=None),
        member=member,
    )
