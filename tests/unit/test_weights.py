"""Counts and names of a model's weights, from headers alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from heliostat import weights
from heliostat.commands.tiny import write_model
from heliostat.tasks.config import ModelConfig
from heliostat.train.config import TrainConfig

WIDTH = 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "model")
    return tmp_path / "model"


def test_what_is_trained_is_what_is_not_frozen(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModel.from_pretrained(folder)
    place = ModelConfig(path=str(folder))
    assert weights.parameters(place) == sum(p.numel() for p in model.parameters())
    assert weights.trained(place, TrainConfig()) == weights.parameters(place)
    for part in (model.embeddings, model.encoder.layer[0]):
        part.requires_grad_(False)
    assert weights.trained(place, TrainConfig(freeze=1)) == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_fewer_layers_are_fewer_weights(folder: Path) -> None:
    whole, one = (weights.parameters(ModelConfig(path=str(folder), layers=n)) for n in (None, 1))
    assert whole
    assert one
    assert 0 < one < whole


def test_adapters_are_two_thin_matrices_each(folder: Path) -> None:
    train = TrainConfig(adapter={"use": "lora", "r": 4, "targets": ["query", "value"]})
    assert weights.trained(ModelConfig(path=str(folder)), train) == 2 * 2 * 4 * (WIDTH + WIDTH)


def test_matrices_are_named_without_the_embeddings(folder: Path) -> None:
    names = weights.matrices(ModelConfig(path=str(folder)))
    assert {name.rsplit(".", 1)[-1] for name in names} == {"query", "key", "value", "dense"}


def test_a_model_that_is_not_there_tells_nothing(tmp_path: Path) -> None:
    assert weights.parameters(ModelConfig(path=str(tmp_path / "nowhere"))) is None
    assert weights.parameters(ModelConfig(path="package:no_such_package/model")) is None
    assert weights.matrices(ModelConfig(path="package:no_such_package/model")) == {}
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs")
    assert weights.parameters(ModelConfig(path=str(tmp_path))) is None
