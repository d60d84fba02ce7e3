"""A student is a training with the teacher's soft targets, which are written once."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special

from heliostat.artifacts import Corpus, Model
from heliostat.core import seeds
from heliostat.core.progress import Progress
from heliostat.distil import stage
from heliostat.distil.config import DistilConfig
from heliostat.distil.stage import log_softmax, teach
from heliostat.tasks.config import ModelConfig
from heliostat.tasks.text_classification import TextClassification


def test_soft_targets_are_log_probabilities():
    logits_NC = (5 * seeds.rng(1, "test", "distil").normal(size=(7, 4))).astype(np.float32)
    given = log_softmax(logits_NC)
    assert given.dtype == np.float32
    assert given == pytest.approx(special.log_softmax(logits_NC.astype(np.float64), axis=-1), abs=1e-5)  # float32 with values near 10


def test_soft_targets_of_a_very_sure_teacher_are_numbers():
    assert log_softmax(np.array([[1e4, 0.0], [-1e4, 1e4]], np.float32)).tolist() == [[0.0, -1e4], [-2e4, 0.0]]


def test_log_probabilities_are_their_own_soft_targets():
    once = log_softmax(np.array([[1.0, 2.0, 3.0]], np.float32))
    assert log_softmax(once) == pytest.approx(once, abs=1e-6)  # float32


@pytest.fixture
def taught(tmp_path, monkeypatch):
    """`taught(config)` teaches a student that is never trained: (what a training was told, what was asked of the teacher)."""
    logits_NC, asked, told = seeds.rng(1, "test").normal(size=(5, 3)).astype(np.float32), [], {}
    for split in ("train", "valid"):
        (tmp_path / "corpus" / split).mkdir(parents=True)
        (tmp_path / "corpus" / split / "part-00000.parquet").touch()
    corpus = Corpus(fingerprint="c", path=tmp_path / "corpus", labels=("a", "b", "c"), rows={}, dropped={}, read=5)

    def predict(predictor, files, *, task, show):
        asked.append((predictor, [file.parent.name for file in files]))
        return logits_NC

    def training(config, *, ctx, source, corpus, task):
        return {"train": config, "model": source}

    monkeypatch.setattr(stage, "training", training)
    monkeypatch.setattr(stage, "train_fully", lambda fields, ctx: told.update(fields))
    monkeypatch.setattr(stage, "export", lambda fields, ctx, name: (name, fields["teacher"]))
    ctx = SimpleNamespace(folder=tmp_path / "distil", name="distil", show=Progress(), engine=SimpleNamespace(predict=predict))
    best = Model(fingerprint="best", name="trial-0001", stage="tune", path=tmp_path / "best")

    def run(config):
        base = ModelConfig(path="someone/base", layers=6)
        name, _ = teach(config, ctx=ctx, teacher="council", best=best, model=base, corpus=corpus, task=TextClassification())
        assert name == "student"
        assert np.load(told["teacher"]) == pytest.approx(log_softmax(logits_NC))
        return told, asked

    return run


def test_the_teacher_answers_for_the_training_rows(taught):
    _, asked = taught(DistilConfig(layers=2))
    assert asked == [("council", ["train"])]


def test_a_student_starts_from_the_best_model_or_from_the_base(taught, tmp_path):
    told, _ = taught(DistilConfig(layers=2, start="best"))
    assert (told["model"].folder, told["model"].spread) == (str(tmp_path / "best"), 2)
    told, _ = taught(DistilConfig(layers=3, start="base"))
    assert (told["model"].folder, told["model"].layers, told["model"].spread) == ("someone/base", 6, 3)


def test_a_student_is_trained_as_its_own_settings_say(taught):
    config = DistilConfig(train={"epochs": 7, "objective": {"use": "distillation", "temperature": 3}})
    told, _ = taught(config)
    assert told["train"] == config.train
    assert told["train"].objective.needs_teacher
