"""Problems between settings: each is found before anything starts, whatever else is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from heliostat.config import read_config
from heliostat.core.errors import UserError
from heliostat.core.layout import Layout

DOCS = "evaluate.general={docs: {use: retrieval}}"
TWO = Layout(workers=2, local_cpus=2)


def problems(path: Path, *assignments: str, layout: Layout | None = None) -> list[str]:
    with pytest.raises(UserError) as caught:
        read_config(path, assignments, layout)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["train.freeze=3"], ["train.freeze: 3", "the model has 2", "Allowed: 0 to 2"]),
        (["distil.layers=3"], ["distil.layers: 3", "the model has 2", "Allowed: 1 to 2"]),
        (["distil.layers=2", "model.layers=1"], ["distil.layers: 2", "the model has 1"]),
        (["model.layers=3"], ["model.layers: 3", "has 2 encoder layers"]),
        (["task.max_tokens=65"], ["task.max_tokens: 65", "at most 64", "Allowed: 8 to 64"]),
        (["train.objective=distillation"], ["train.objective", "only `distil` has one", "Allowed: cross_entropy"]),
        (["task.also=[f1_marco]"], ["task.also.0", "Did you mean 'f1_macro'"]),
        (["task.metric=no_such_package.metric"], ["task.metric", "cannot be imported"]),
        (["tune={metric: acuracy}"], ["tune.metric", "Did you mean 'accuracy'"]),
        (["tune={trials: 2}"], ["tune.finalists: 4", "Use at most 2"]),
        (["tune={finalists: 2}", "ensemble={candidates: 3}"], ["ensemble.candidates: 3", "tune.finalists keeps 2"]),
        (["report.gates=[{metric: acuracy, min: 0.5}]"], ["report.gates.0.metric", "Did you mean 'accuracy'", "latency_ms_p50"]),
        (["report.gates=[{metric: auc, min: 0.5}]"], ["report.gates.0.metric", "add it to task.also"]),
        (["report.gates=[{suite: domian, metric: accuracy, min: 0.5}]"], ["report.gates.0.suite", "Did you mean 'domain'"]),
        (["report.gates=[{suite: docs, metric: accuracy, min: 0.5}]", DOCS], ["report.gates.0.metric: docs metric", "recall_at_1"]),
        (["tune.space={trian.batch: {choice: [8]}}"], ["tune.space.trian.batch", "Did you mean 'train.batch'"]),
        (["tune.space={train.optimizer.lrr: {uniform: [0.1, 0.2]}}"], ["tune.space.train.optimizer.lrr", "Did you mean 'lr'"]),
        (["tune.space={train.epochs.x: {uniform: [1, 2]}}"], ["tune.space.train.epochs.x", "no settings below it"]),
        (["tune.space={train.precision: {choice: [fp32, fp16, bf16]}}"], ["tune.space.train.precision", "fp16 needs a GPU"]),
        (["tune.space={train.optimizer.lr: {choice: [0.1, x, 0.2]}}"], ["tune.space.train.optimizer.lr", "'x' was given"]),
        (["corpus.columns={txt: text}"], ["corpus.columns.txt", "Did you mean 'text'"]),
        (["corpus.columns={text: label}"], ["column 'label'", "text and label at once"]),
    ],
)
def test_settings_that_do_not_go_together_are_told(tiny_config: Path, assignments: list[str], words: list[str]) -> None:
    (told,) = problems(tiny_config, *assignments)
    assert all(word in told for word in words), told


@pytest.mark.parametrize(
    "assignments",
    [
        ["distil.layers=2"],
        ["task.max_tokens=64"],
        ["distil={layers: 1, train: {batch: 16}}"],
        ["report.gates=[{metric: bytes, max: 5}, {suite: docs, metric: recall_at_1, max_drop: 0.1}]", DOCS],
        ["tune.space={train.batch: {int: [8, 12]}, train.lora.r: {int: [2, 4]}}"],
    ],
)
def test_settings_that_go_together_are_not(tiny_config: Path, assignments: list[str]) -> None:
    assert read_config(tiny_config, assignments).name == "tiny"


def test_a_tried_batch_must_divide_too(tiny_config: Path) -> None:
    told = problems(tiny_config, "tune.space={train.batch: {choice: [8, 9, 10]}}", layout=TWO)
    assert told == ["tune.space.train.batch: 9 rows do not divide among 2 workers. Nearest batches that do: 8 or 10."]
    told = problems(tiny_config, "distil={layers: 1, train: {batch: 9}}", layout=TWO)
    assert told == ["distil.train.batch: 9 rows do not divide among 2 workers. Nearest batches that do: 8 or 10."]


def test_a_malformed_section_hides_nothing_that_does_not_depend_on_it(tiny_config: Path) -> None:
    told = problems(
        tiny_config,
        "train.epohcs=1",
        "task.metric=acuracy",
        "model.path=./nowhere",
        "corpus.columns.text=txet",
        "tune.space={train.epochs.x: {uniform: [1, 2]}}",
        "ensemble={candidates: 9}",
        "report.gates=[{suite: nothing, metric: accuracy, min: 1}]",
    )
    places = [problem.split(":")[0] for problem in told]
    wanted = ["train.epohcs", "model.path", "task.metric", "corpus.columns.text", "ensemble.candidates", "report.gates.0.suite"]
    assert sorted(places) == sorted(wanted), "and what may be tried in train waits until train is well formed"


def test_no_false_problem_follows_from_a_section_that_is_malformed(tiny_config: Path) -> None:
    assert len(problems(tiny_config, "tune.trails=3", "ensemble={candidates: 3}")) == 1
    assert len(problems(tiny_config, "model=3", "distil.layers=9")) == 1
