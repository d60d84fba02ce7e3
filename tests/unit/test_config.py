"""A run's config: what a training minimises when nobody says it, and the tracker that is always there."""

from __future__ import annotations

from pathlib import Path

import pytest

from heliostat.config import RunConfig, read_config
from heliostat.core import family
from heliostat.core.errors import UserError
from heliostat.trackers.wandb import Wandb

COLUMNS = {"multilabel_classification": "labels", "text_regression": "target"}


@pytest.mark.parametrize("task", ["text_classification", *COLUMNS])
def test_a_training_that_names_no_objective_gets_its_tasks_own(tiny_config: Path, task: str) -> None:
    columns = [f"corpus.columns={{{COLUMNS[task]}: label}}"] if task in COLUMNS else []
    run = read_config(tiny_config, [f"task={{use: {task}, max_tokens: 32}}", *columns])
    assert run.train.objective.name() == family.find("tasks", task).objective  # type: ignore[attr-defined]
    assert run.tree()["train"]["objective"]["use"] == run.train.objective.name()  # it is saved, not worked out again
    assert run.train.epochs == 4


def test_a_named_objective_stays(tiny_config: Path) -> None:
    run = read_config(tiny_config, ["train.objective={use: cross_entropy, label_smoothing: 0.1}"])
    assert run.train.objective.label_smoothing == 0.1


def test_a_run_without_training_settings_has_an_objective_too() -> None:
    sources = {"sources": [{"use": "csv", "paths": ["x.csv"]}]}
    run = RunConfig.model_validate({"name": "a", "task": "text_regression", "model": {"path": "."}, "corpus": sources})
    assert run.train.objective.name() == "mean_squared_error"


@pytest.mark.parametrize(
    ("assignment", "place"), [("task=text_regresion", "task"), ("train=3", "train"), ("train.objective=hubert", "train")]
)
def test_what_is_malformed_is_told_by_its_own_section(tiny_config: Path, assignment: str, place: str) -> None:
    with pytest.raises(UserError) as caught:
        read_config(tiny_config, [assignment])
    (problem,) = caught.value.problems
    assert problem.removeprefix(f"{tiny_config}: ").startswith(place)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("[]", ["tensorboard"]),
        ("[{use: wandb, mode: offline}]", ["wandb", "tensorboard"]),
        ("[{use: tensorboard, points: 9}, wandb]", ["tensorboard", "wandb"]),
    ],
)
def test_tensorboard_is_a_tracker_of_every_run(tiny_config: Path, monkeypatch: pytest.MonkeyPatch, given: str, names: list[str]) -> None:
    monkeypatch.setattr(Wandb, "problems", lambda self: [])
    config = read_config(tiny_config, [f"trackers={given}"])
    assert [tracker.name() for tracker in config.trackers] == names
    assert RunConfig.model_validate(config.tree()) == config
    points = {tracker.name(): tracker.points for tracker in config.trackers}["tensorboard"]
    assert points == (9 if "points" in given else 1000)
    assert [tracker.name() for tracker in read_config(tiny_config).trackers] == ["tensorboard"]
