"""Which model a run starts from: where it is, what is wrong with it, what stands for its content."""

import shutil

import huggingface_hub
import pytest

from heliostat.commands.tiny import write_model
from heliostat.tasks import config
from heliostat.tasks.config import ModelConfig


@pytest.fixture
def folder(tmp_path):
    write_model(tmp_path / "model")
    return tmp_path / "model"


def test_a_model_folder_has_no_problem(folder):
    assert ModelConfig(path=str(folder)).problems() == []
    assert ModelConfig(path=str(folder)).folder() == folder


@pytest.mark.parametrize("path", ["someone/some-model", "bert-tiny"])
def test_a_hub_id_is_no_folder_and_the_hub_is_asked(monkeypatch, tmp_path, path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "reach", lambda hub_id, revision: [f"{hub_id} at {revision}"])
    assert ModelConfig(path=path).folder() is None
    assert ModelConfig(path=path, revision="v2").problems() == [f"{path} at v2"]


@pytest.mark.parametrize("cached", [True, False])
def test_a_hub_that_is_away_matters_only_for_what_is_not_cached(monkeypatch, cached):
    def away(*args, **options):
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args, **options: "/cache/config.json" if cached else None)
    monkeypatch.setattr(huggingface_hub, "model_info", away)
    problems = ModelConfig(path="someone/some-model").problems()
    if cached:
        assert problems == []
    else:
        (problem,) = problems
        assert "hf download someone/some-model --local-dir models/some-model" in problem


@pytest.mark.parametrize("path", ["./nowhere", "/nowhere/at/all", "a/b/c"])
def test_a_folder_that_is_not_there_is_named(path):
    (problem,) = ModelConfig(path=path).problems()
    assert problem.startswith(f"model.path: '{path}' does not exist")


@pytest.mark.parametrize("gone", ["config.json", "model.safetensors"])
def test_a_folder_that_is_no_model_says_what_it_holds(folder, gone):
    (folder / gone).unlink()
    (problem,) = ModelConfig(path=str(folder)).problems()
    assert "needs config.json and *.safetensors" in problem
    assert "tokenizer.json" in problem.split("it holds")[1]


def test_identity_is_the_content_and_not_the_place(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere")
    here, there = ModelConfig(path=str(folder)), ModelConfig(path=str(tmp_path / "elsewhere"))
    assert here.identity() == there.identity()
    assert ModelConfig(path=str(folder), layers=1).identity() != here.identity()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert ModelConfig(path=str(folder)).identity() != there.identity()


def test_a_revision_is_part_of_what_a_hub_id_stands_for():
    marks = {ModelConfig(path="someone/some-model", revision=revision).fingerprint for revision in ("main", "v2")}
    assert len(marks) == 2
