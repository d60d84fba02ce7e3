"""Which model a run starts from: where it is, what is wrong with it, what stands for its content."""

import json
import shutil

import huggingface_hub
import pytest

from heliostat.commands.tiny import write_model
from heliostat.core.family import build
from heliostat.engine.orders import ModelSource
from heliostat.engine.streams import content_of
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


@pytest.mark.parametrize("name", ["chat_template.jinja", "additional_chat_templates/tools.jinja", "merges.txt", "added_tokens.json"])
def test_what_reads_and_writes_for_a_model_is_a_part_of_it(tmp_path, name):
    folder = tmp_path / "model"
    write_model(folder)
    before = ModelConfig(path=str(folder)).fingerprint, content_of([], ModelSource(folder=str(folder)))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("something else")
    after = ModelConfig(path=str(folder)).fingerprint, content_of([], ModelSource(folder=str(folder)))
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_a_revision_is_part_of_what_a_hub_id_stands_for():
    marks = {ModelConfig(path="someone/some-model", revision=revision).fingerprint for revision in ("main", "v2")}
    assert len(marks) == 2


@pytest.mark.parametrize("path", ["someone/small-en-v1.5", "small-v1.5"])
def test_a_version_at_the_end_makes_no_file(path):
    assert ModelConfig(path=path).folder() is None


def test_what_is_wrong_with_a_folder_is_told(folder):
    def told(path=folder):
        (problem,) = ModelConfig(path=str(path)).problems()
        return problem

    assert "is a file" in told(folder / "config.json")
    assert f"Did you mean '{folder}'" in told(folder.with_name("modle"))
    assert ModelConfig(path=" ").problems()[0].startswith("model.path: it is empty")
    assert ModelConfig(path="package:no_such_package").problems()[0].startswith("model.path: 'package:no_such_package'")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:100])
    assert "cut off" in told()
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90868376\n")
    assert "git lfs pull" in told()
    (folder / "model.safetensors").write_bytes(weights)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    (lacking,) = ModelConfig(path=str(folder)).lacks("text")
    assert "holds no tokenizer. It needs one of tokenizer.json" in lacking
    (lacking,) = ModelConfig(path=str(folder)).lacks("audio")
    assert "holds no feature extractor. It needs one of preprocessor_config.json" in lacking
    (folder / "preprocessor_config.json").write_text("{}")
    assert ModelConfig(path=str(folder)).lacks("image") == []
    (folder / "config.json").write_text("{broken")
    assert "not a JSON object" in told()


@pytest.mark.parametrize(
    ("facts", "positions"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "deberta-v2", "max_position_embeddings": 512, "position_biased_input": False}, None),
        ({"model_type": "t5", "n_positions": 512}, 512),
        ({"model_type": "xlnet"}, None),
    ],
)
def test_positions_a_model_can_read(folder, facts, positions):
    (folder / "config.json").write_text(json.dumps(facts))
    assert ModelConfig(path=str(folder)).positions() == positions


def test_depth_has_many_names(folder):
    assert ModelConfig(path=str(folder)).depth() == 2
    (folder / "config.json").write_text('{"n_layers": 6}')
    assert ModelConfig(path=str(folder)).depth() == 6
    assert ModelConfig(path="package:no_such_package").depth() is None


def test_an_adapted_model_is_what_made_it_and_not_its_files(folder):
    class Made:
        path, fingerprint = folder, "made"

    class Coming:
        fingerprint = "made"

    given = ModelConfig(path="someone/some-model", layers=2)
    made, coming = (config.Adapted.of(given, artifact()) for artifact in (Made, Coming))
    assert made.identity() == coming.identity() == {"fingerprint": "made:2"}
    assert made.folder() == folder
    assert made.model_copy(update={"layers": 1}).layers == 1
    assert config.Adapted(path=str(folder), made_by="other", layers=2).identity() != made.identity()


@pytest.mark.parametrize("task", ["text_classification", "token_classification", "text_regression", "masked_lm"])
@pytest.mark.parametrize(("kind", "wrong"), [("fnet", 1), ("xlnet", 1), ("bert", 0)])
def test_a_model_that_mixes_padding_into_its_answers_is_refused(tmp_path, task, kind, wrong):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, "max_position_embeddings": 512}))
    found = [told for told in build("tasks", task).problems(ModelConfig(path=str(tmp_path))) if "is filled up" in told]
    assert len(found) == wrong
