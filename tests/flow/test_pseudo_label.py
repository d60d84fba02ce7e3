"""The story with pseudo-labels: one more model beside the others, remembered like every stage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flow.fake import FakeEngine
from heliostat.cli import main
from heliostat.commands.tiny import write_project, write_table

STAGES = ["corpus", "evaluate-base", "train", "unlabelled", "pseudo_label", "evaluate", "report"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The tiny project, and more texts like its own."""
    folder = tmp_path / "project"
    folder.mkdir()
    write_table(folder / "more.csv", 90)
    text = (folder / "more.csv").read_text().replace("water", "quiet").replace("pan", "early").replace("the ", "a late ")
    (folder / "more.csv").write_text(text)
    corpus = {"sources": [{"use": "csv", "paths": [str(folder / "more.csv")]}], "near_duplicates": None}
    more = {"corpus": corpus, "min_confidence": 0.5, "train": {"epochs": 1, "batch": 8}}
    return write_project(folder, pseudo_label=more)


def run(config: Path, *options: str) -> int:
    return main(["run", str(config), "--storage", str(config.parent / "runs"), *options])


def test_one_more_model_is_trained_scored_and_told_of(config: Path, engines: list[FakeEngine]) -> None:
    assert run(config) == 0
    root = config.parent / "runs" / "tiny"
    times = {path.parent.name: json.loads(path.read_text())["finished_unix"] for path in root.glob("*/manifest.json")}
    assert sorted(times, key=times.__getitem__) == STAGES
    told = json.loads((root / "pseudo_label/labels.json").read_text())
    assert told["teacher"] == "trained"
    assert sum(told["labels"].values()) > 0
    page = (root / "report/index.html").read_text()
    assert "Pseudo-labels" in page
    assert "pseudo-labelled" in page
    before = len(engines[-1].performed)
    assert run(config) == 0
    assert engines[-1].performed == [] or len(engines[-1].performed) < before, "everything was kept"


def test_other_text_is_another_stage(config: Path, engines: list[FakeEngine], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config) == 0
    assert run(config, "--set", "pseudo_label.min_confidence=0.6") == 2
    assert "pseudo_label" in capsys.readouterr().err
