"""How long a training is: a plan tells what the training itself will make of its rows, and what it cannot know yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heliostat.artifacts import Corpus
from heliostat.commands import history, plan
from heliostat.commands.estimates import Rows, step_range
from heliostat.commands.tiny import THEMES, write_model
from heliostat.commands.updates import LATER, Ahead, prepared_rows
from heliostat.config import read_config
from heliostat.core import seeds
from heliostat.core.artifact import Pending
from heliostat.core.family import build
from heliostat.core.layout import Layout
from heliostat.core.manifest import write_json
from heliostat.engine import streams
from heliostat.engine.driver import Engine, source_of
from heliostat.train.batching import batches
from heliostat.train.config import TrainConfig

ROWS = 60
WORDS = next(iter(THEMES.values()))
TEXTS = [" ".join(seeds.rng(3, "test", i).choice(WORDS, 1 + i % 25)) for i in range(ROWS)]
LONG: dict[str, Any] = {"use": "masked_lm", "max_tokens": 16}
WHOLE: dict[str, Any] = {"use": "text_classification", "max_tokens": 64}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], Path]:
    """`prepared(task)`: the rows of the texts above as its model inputs."""
    folder = tmp_path_factory.mktemp("rows")
    write_model(folder / "model")
    labels = [f"class-{i % 2}" for i in range(ROWS)]
    pq.write_table(
        pa.table({"id": [str(i) for i in range(ROWS)], "text": TEXTS, "label": labels, "weight": [1.0] * ROWS}), folder / "a.parquet"
    )

    def made(task: Any) -> Path:
        work = streams.Tokenise(str(folder / "model"), task, ("class-0", "class-1"))
        return streams.prepare(folder, [folder / "a.parquet"], work, identity="", map_pieces=lambda pieces, work: map(work, pieces))

    return made


def ahead(task: dict[str, Any], prepared: Path | None = None, **train: Any) -> Ahead:
    return Ahead(TrainConfig(**train), build("tasks", task), ROWS, 7, prepared)


@pytest.mark.parametrize(
    ("task", "train"),
    [
        (WHOLE, {"batch": 16}),
        (WHOLE, {"batch_tokens": 100, "epochs": 2.5}),
        (WHOLE, {"batch_tokens": 100, "curriculum": "length"}),
        (WHOLE, {"batch": 16, "curriculum": {"use": "loss", "model": "somewhere"}}),
        (LONG, {"batch": 16, "epochs": 3}),
        (LONG, {"batch": 4, "packing": True}),
        (LONG, {"batch_tokens": 64, "packing": True, "epochs": 2}),
    ],
)
def test_what_is_tokenised_is_counted_as_the_training_counts_it(
    prepared: Callable[[Any], Path], task: dict[str, Any], train: dict[str, Any]
) -> None:
    found = ahead(task, None, **train)
    rows = prepared(found.task)
    known = ahead(task, rows, **train)
    used = streams.opened(streams.packed(rows, 16, shifted=found.task.shifted) if found.train.packing else rows)
    losses_N = np.zeros(ROWS) if "loss" in str(train) else None
    assert known.steps == batches(found.train, used, 7, losses_N=losses_N).steps(found.train.epochs)
    assert known.told() == f"{known.steps:,} steps of {known.unit()}"
    if train.get("batch_tokens") or task is LONG:
        assert found.steps is None
        assert LATER in found.told()
        assert known.steps != found.least
    else:
        assert found.steps == known.steps


def test_what_is_not_tokenised_is_said_to_be_unknown() -> None:
    assert ahead(WHOLE, batch=16, epochs=3.0).told() == "12 steps of 16 rows"
    assert [ahead(WHOLE, batch=16, epochs=e).steps for e in (1, 0.5, 3, 0.001)] == [4, 2, 12, 1]
    assert ahead(WHOLE, batch_tokens=4096).told() == f"1 epoch in steps of 4,096 tokens: how many is {LATER}"
    assert ahead(LONG, packing=True, batch=4, epochs=2).told() == f"2 epochs in steps of 4 sequences of 16 tokens: how many is {LATER}"
    assert ahead(LONG, batch=16).told() == f"4 steps of 16 sequences, and more where a text becomes several: {LATER}"
    assert ahead({**LONG, "cut": "end"}, batch=16).told() == "4 steps of 16 rows"
    assert ahead({"use": "causal_lm", "form": "chat"}, batch=16).told() == "4 steps of 16 rows"


def test_an_order_that_a_reference_model_decides_is_not_known(prepared: Callable[[Any], Path]) -> None:
    rows = prepared(build("tasks", WHOLE))
    assert ahead(WHOLE, rows, batch_tokens=100, curriculum={"use": "loss", "model": "somewhere"}).steps is None


def test_rows_of_an_update_are_those_of_the_training(prepared: Callable[[Any], Path]) -> None:
    rows = prepared(build("tasks", WHOLE))
    tokens = streams.opened(rows).lengths_N.mean()
    assert ahead(WHOLE, rows, batch_tokens=100).batch_rows(2) == round(100 / tokens)
    assert ahead(WHOLE, rows, batch_tokens=8).batch_rows(2) == 2
    assert ahead(WHOLE, batch_tokens=100).batch_rows(2) is None
    assert ahead(WHOLE, batch=16).batch_rows(2) == ahead(WHOLE, rows, batch=16).batch_rows(2) == 16


def test_the_pages_of_a_plan_say_it(tiny_config: Path) -> None:
    def costs(*assignments: str) -> plan.Costs:
        layout = Layout(local_cpus=2)
        return plan.Costs(
            read_config(tiny_config, assignments, layout), layout, Rows(200, {"train": 160, "valid": 20, "test": 20}, True), None
        )

    tokens = costs("train.batch_tokens=64", "tune={trials: 4}")
    assert tokens.work("train") == f"4 epochs in steps of 64 tokens: how many is {LATER}"
    assert tokens.work("tune").startswith(f"4 trials of a length {LATER}; ")
    assert "1 CPU, 64 tokens over all workers and update; " in tokens.width()
    assert "1 CPU, 8 rows x 1 per worker and update; " in costs("tune={trials: 4}").width()


def test_trials_that_tokenise_otherwise_are_not_counted_by_rows_that_are_there(prepared: Callable[[Any], Path], tiny_config: Path) -> None:
    rows = prepared(build("tasks", WHOLE))
    for space, known in (("train.epochs: {choice: [1, 2]}", True), ("task.max_tokens: {choice: [16, 32]}", False)):
        run = read_config(tiny_config, ["train.batch_tokens=64", f"tune.space={{{space}}}"])
        assert (step_range(run, Ahead(run.train, run.task, ROWS, 7, rows)) is not None) == known


def test_rows_that_an_earlier_attempt_made_are_found(tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = read_config(tiny_config)
    corpus = Corpus(fingerprint="f", path=tmp_path / "corpus", labels=("a", "b"), rows={"train": 2}, dropped={}, read=2)
    (corpus.path / "train").mkdir(parents=True)
    rows = {"id": ["1", "2"], "text": ["one", "two"], "label": ["a", "b"], "weight": [1.0, 1.0]}
    pq.write_table(pa.table(rows), corpus.path / "train" / "part.parquet")
    root = tmp_path / "run"
    assert prepared_rows(run, root, corpus) is None
    engine = Engine(Layout(), root)
    monkeypatch.setattr(engine, "map_pieces", lambda pieces, work: map(work, pieces))
    made = engine.prepare(corpus.split("train"), task=run.task, labels=corpus.labels, model=source_of(run.model))
    assert prepared_rows(run, root, corpus) == made
    assert prepared_rows(run, root, Pending(fingerprint="f")) is None
    assert prepared_rows(read_config(tiny_config, ["task.max_tokens=9"]), root, corpus) is None


def test_a_rate_comes_from_a_run_that_packs_as_this_one_does(tmp_path: Path) -> None:
    for name, packing in (("plain", False), ("packed", True)):
        identity = {"inputs": {"model": "m", "task": "t"}, "config": {"epochs": 1.0, "packing": packing}}
        write_json(tmp_path / name / "run.json", {})
        write_json(tmp_path / name / "train" / "manifest.json", {"identity": identity, "output": {}, "seconds": 9, "finished_unix": 1})
        write_json(tmp_path / name / "corpus" / "manifest.json", {"output": {"rows": {"train": 9 if packing else 3}}, "seconds": 1})
    rates = [history.earlier(tmp_path, {"model": "m", "task": "t", "packing": packing}) for packing in (True, False)]
    assert [rate and rate.row_seconds() for rate in rates] == [1.0, 3.0]
