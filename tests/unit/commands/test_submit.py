"""What travels to a cluster: paths that exist here are absolute, names of a hub, a package or a storage stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from heliostat.commands.submit import absolute


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("models/small", "old-run", "hub"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["hub/some-model", "bert-base", "package:data/model"])
def test_names_stay(here: Path, name: str) -> None:
    tree = {"model": {"path": name}, "tune": {"warm_start": {"run": name}, "space": {"model.path": {"choice": [name]}}}}
    assert absolute(tree) == tree


def test_an_older_run_and_searched_models_are_absolute_wherever_they_are_named(here: Path) -> None:
    small = "models/small"

    def tree(path: str, run: str) -> dict[str, Any]:
        return {
            "tune": {
                "trials": 3,
                "warm_start": {"run": run, "best": 2},
                "space": {
                    "model.path": {"choice": [path, "bert-base"]},
                    "train.adapter.r": {"int": [2, 4], "when": {"model.path": [path]}},
                    "train.batch": {"int": [2, 4], "when": {"model.path": path}},
                    "task.note": {"choice": [small]},
                },
                "first_points": [{"model.path": path, "task.note": small}],
                "constraints": [f"model.path == '{path}' or model.path != \"{path}\""],
            }
        }

    assert absolute(tree(small, "old-run")) == tree(str(here / small), str(here / "old-run"))


def test_a_config_without_a_sweep_is_as_it_was(here: Path) -> None:
    assert absolute({"tune": None, "model": {"path": "models/small"}}) == {"tune": None, "model": {"path": str(here / "models/small")}}
    assert absolute({"tune": {"space": {"model.path": "malformed"}}}) == {"tune": {"space": {"model.path": "malformed"}}}
