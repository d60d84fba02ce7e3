"""General text among the field's: the share, the same rows every time, and the field's own valid and test splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heliostat.artifacts import Corpus
from heliostat.core.errors import UserError
from heliostat.core.provenance import content_fingerprint
from heliostat.pretrain.mixing import GENERAL, mixed

SPLITS = ("train", "valid", "test")


def corpus(folder: Path, name: str, train: int) -> Corpus:
    rows = {"train": train, "valid": 3, "test": 2}
    for split, count in rows.items():
        (folder / name / split).mkdir(parents=True)
        ids = [f"{name}-{split}-{i}" for i in range(count)]
        table = pa.table({"id": ids, "text": ids, "domain": ["domain"] * count, "weight": np.ones(count, np.float32)})
        pq.write_table(table, folder / name / split / "part-00000.parquet")
    return Corpus(fingerprint=name, path=folder / name, labels=(), rows=rows, dropped={}, read=train + 5)


def column(found: Corpus, split: str, name: str) -> list[str]:
    return [value for file in found.split(split) for value in pq.read_table(file).column(name).to_pylist()]


def test_an_epoch_has_the_share_and_rows_say_what_they_are(tmp_path: Path) -> None:
    own, general = corpus(tmp_path, "own", 60), corpus(tmp_path, "general", 50)
    found = mixed(tmp_path / "mixed", own, general, 0.25, seed=7)
    assert found.rows == {"train": 80, "valid": 3, "test": 2}
    assert column(found, "train", "id")[:60] == column(own, "train", "id")
    assert column(found, "train", "domain") == ["domain"] * 60 + [GENERAL] * 20
    drawn = column(found, "train", "id")[60:]
    assert len(set(drawn)) == 20
    assert set(drawn) < set(column(general, "train", "id"))
    assert all(column(found, split, "id") == column(own, split, "id") for split in ("valid", "test"))


def test_it_is_written_the_same_again_and_otherwise_for_another_seed(tmp_path: Path) -> None:
    own, general = corpus(tmp_path, "own", 60), corpus(tmp_path, "general", 50)

    def mark(seed: int) -> str:
        return content_fingerprint(mixed(tmp_path / "mixed", own, general, 0.25, seed).split("train"))

    assert mark(7) == mark(7) != mark(8)


def test_too_little_general_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="takes 60 general rows, and there are 50"):
        mixed(tmp_path / "mixed", corpus(tmp_path, "own", 60), corpus(tmp_path, "general", 50), 0.5, seed=7)
