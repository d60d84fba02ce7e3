"""What is sure to fail in a small corpus is said before anything starts; larger ones are left to the stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from heliostat.core.family import build
from heliostat.corpus import preview
from heliostat.corpus.config import CorpusConfig


def problems(folder: Path, lines: list[str], **options: object) -> list[str]:
    (folder / "rows.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    config = CorpusConfig.model_validate({"sources": [{"use": "csv", "paths": [str(folder / "rows.csv")]}], **options})
    return config.problems(build("tasks", "text_classification"))


def rows(label: str, count: int) -> list[str]:
    return [f"the {label} number {i} is here,{label}" for i in range(count)]


def test_a_good_corpus_has_no_problem(tmp_path: Path) -> None:
    assert problems(tmp_path, rows("boat", 5) + rows("oven", 3)) == []


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], ["hold no row"]),
        (rows("boat", 5), ["of 5 rows read", "all have the class 'boat'", "at least two"]),
        (rows("boat", 5) + rows("oven", 1) * 4, ["of 9 rows read", "class 'oven' has 1", "at least 3"]),
        (["same old text,a", "same old text,b"] * 3, ["none is left", "6 conflicting_labels"]),
    ],
)
def test_what_cannot_be_split_is_told(tmp_path: Path, lines: list[str], words: list[str]) -> None:
    (told,) = problems(tmp_path, lines)
    assert all(word in told for word in words), told


def test_cleaning_counts(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, rows("boat", 5) + rows("oven", 3), filters=[{"use": "length", "min_characters": 500}])
    assert "8 too_short" in told


def test_many_malformed_rows_are_left_to_the_stage_which_writes_them_down(tmp_path: Path) -> None:
    assert problems(tmp_path, [*rows("boat", 5), *["one,two,three"] * 5]) == []


def test_large_data_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "SMALL_BYTES", 10)
    assert problems(tmp_path, rows("boat", 5)) == []
