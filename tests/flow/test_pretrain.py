"""The story with continued pretraining before it: its model takes the place of the config's, and it is remembered like every stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flow.fake import FakeEngine, Killed
from heliostat.cli import main
from heliostat.commands.tiny import write_project, write_table
from heliostat.core.errors import UserError

STAGES = ["corpus", "evaluate-base", "pretrain-corpus", "pretrain-replay", "pretrain", "train", "evaluate", "report"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The tiny project, pretrained on its own table with words of another one among them."""
    folder = tmp_path / "project"
    folder.mkdir()
    write_table(folder / "general.csv", 90)
    text = (folder / "general.csv").read_text().replace("water", "quiet").replace("pan", "early")
    (folder / "general.csv").write_text(text)
    source = lambda name: {"sources": [{"use": "csv", "paths": [str(folder / name)]}], "near_duplicates": None}  # noqa: E731
    pretrain = {
        "task": {"use": "masked_lm", "max_tokens": 32},
        "corpus": source("rows.csv"),
        "replay": {**source("general.csv"), "share": 0.25},
        "train": {"epochs": 1, "batch": 8},
    }
    return write_project(folder, pretrain=pretrain)


def run(config: Path, *options: str) -> int:
    return main(["run", str(config), "--storage", str(config.parent / "runs"), *options])


def root(config: Path) -> Path:
    return config.parent / "runs" / "tiny"


def manifest(config: Path, stage: str) -> dict[str, Any]:
    return json.loads((root(config) / stage / "manifest.json").read_text())


def finished(config: Path) -> list[str]:
    times = {path.parent.name: json.loads(path.read_text())["finished_unix"] for path in root(config).glob("*/manifest.json")}
    return sorted(times, key=times.__getitem__)


def test_what_is_pretrained_takes_the_place_of_the_model(config: Path, engines: list[FakeEngine]) -> None:
    assert run(config) == 0
    assert finished(config) == STAGES
    train, pretrain = manifest(config, "train"), manifest(config, "pretrain")
    assert pretrain["output"]["name"] == "pretrained"
    assert train["identity"]["inputs"]["model"]["fingerprint"] == f"{pretrain['fingerprint']}:None"
    base = manifest(config, "evaluate-base")["identity"]["inputs"]["predictors"]
    assert base == [pretrain["identity"]["inputs"]["model"]], "the base is the model as it came"
    page = (root(config) / "report" / "index.html").read_text()
    assert "went on learning from" in page
    assert run(config) == 0
    assert engines[1].performed == []


def test_general_text_has_its_share_and_nothing_that_is_held_out_is_read(config: Path, engines: list[FakeEngine]) -> None:
    assert run(config) == 0
    found = json.loads((root(config) / "pretrain" / "scores.json").read_text())
    assert found["general_rows"] / found["rows"] == pytest.approx(0.25, abs=0.01)
    assert set(found["grounds"]) == {"field", "general"}
    tables = [pq.read_table(file) for file in sorted((root(config) / "pretrain" / "mixed" / "train").glob("*.parquet"))]
    domains = [name for table in tables for name in table.column("domain").to_pylist()]
    assert domains.count("general") == found["general_rows"]
    held = {text for name in ("valid", "test") for file in (root(config) / "corpus" / name).glob("*") for text in texts(file)}
    read = {text for file in (root(config) / "pretrain-corpus").glob("*/*.parquet") for text in texts(file)}
    assert held
    assert read
    assert not held & read
    assert manifest(config, "pretrain-corpus")["output"]["dropped"]["held_out"] == len(held)


def texts(file: Path) -> list[str]:
    return pq.read_table(file, columns=["text"]).column("text").to_pylist()


def test_a_kill_between_its_orders_ends_in_the_same_result(
    config: Path, engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(config, "--name", "whole") == 0
    orders = len(engines[-1].performed)
    for kill_at in range(1, orders, 3):
        monkeypatch.setattr(FakeEngine, "kill_at", kill_at)
        try:
            run(config)
        except Killed:
            continue
    monkeypatch.setattr(FakeEngine, "kill_at", None)
    assert run(config) == 0
    whole, killed = (json.loads((root(config).parent / name / "report" / "report.json").read_text()) for name in ("whole", "tiny"))
    assert whole["models"] == killed["models"]


def test_a_difference_in_it_is_refused_with_all_that_follows(
    config: Path, engines: list[FakeEngine], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(config) == 0
    capfd.readouterr()
    assert run(config, "--set", "pretrain.train.epochs=2") == 2
    assert "config.train.epochs: 1.0 -> 2.0" in capfd.readouterr().err
    assert main(["plan", str(config), "--storage", str(config.parent / "runs"), "--set", "pretrain.train.epochs=2"]) == 0
    lines = [line.split() for line in capfd.readouterr().out.split("\n\n")[0].splitlines()]
    states = {words[0]: words[1] for words in lines if words[0] in STAGES}
    assert {name for name, state in states.items() if state == "changed"} >= {"pretrain", "train", "evaluate", "report"}
    assert states["pretrain-corpus"] == states["corpus"] == states["evaluate-base"] == "kept"


def test_a_plan_says_what_it_would_do(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(config), "--storage", str(config.parent / "runs")]) == 0
    out = capsys.readouterr().out
    assert "about 150 rows read" in out
    assert "about 90 rows read" in out
    steps = round(-(-round((150 - 22 - 22) / 0.75) // 8))
    assert f"about {steps} steps of 8 sequences, and more where a text becomes several" in " ".join(out.split())


def test_too_little_general_text_is_refused_with_the_share_it_makes(config: Path, engines: list[FakeEngine]) -> None:
    from heliostat.pretrain.config import enough

    assert enough(0.25, 75, 25) == 25
    with pytest.raises(UserError, match=r"takes 300 general rows, and there are 100.*lower the share to 0\.25"):
        enough(0.5, 300, 100)
    assert run(config, "--set", "pretrain.replay.share=0.9") == 2


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        (
            "pretrain.task=text_classification",
            "text_classification does not learn from text alone. Allowed: causal_lm, masked_lm",
        ),
        ("pretrain.task.max_tokens=200", "pretrain.task.max_tokens: 200 asked for"),
        ("pretrain.task.metric=accuracy", "pretrain.task.metric: 'accuracy' judges labels"),
        ("pretrain.task.use=causal_lm", "is an encoder"),
        ("pretrain.train.freeze=3", "pretrain.train.freeze: 3"),
        ("pretrain.train.precision=fp16", "pretrain.train.precision: fp16 needs a GPU"),
        ("pretrain.train.adapter=prompt_tuning", "pretrain.train.adapter: prompt_tuning stays beside its model"),
        ("pretrain.corpus.columns={text: body}", "pretrain.corpus.columns.text"),
        ("pretrain.replay.columns={text: body}", "pretrain.replay.columns.text"),
        ("pretrain.replay.share=1.5", "pretrain.replay.share"),
        ("tune={trials: 4, space: {model.path: {choice: [a, b]}}}", "tune.space.model.path: `pretrain` makes one model"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(
    config: Path, assignment: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(config), "--storage", str(config.parent / "runs"), "--set", assignment]) == 2
    assert told in capsys.readouterr().err
