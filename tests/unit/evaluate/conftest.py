"""A corpus on disk, an engine that remembers what it was asked, and a context."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heliostat.artifacts import Corpus, Ensemble, Model
from heliostat.core.progress import Progress
from heliostat.core.seeds import rng
from heliostat.tasks.config import ModelConfig
from heliostat.tasks.text_classification import TextClassification

LABELS = ("art", "money", "sport")
ROWS = {"train": 120, "valid": 60, "test": 90}


class Engine:
    """Texts are `<target> <number>`: embeddings show the target through noise, predictions have a skill per model."""

    def __init__(self):
        self.calls = []
        self.skill = {"trial-0001": 2.0, "student": 1.0, "ensemble": 3.0}

    def predict(self, predictor, files, *, task, show):
        self.calls.append(("predict", predictor.name))
        targets = [LABELS.index(label) for file in files for label in pq.read_table(file).column("label").to_pylist()]
        noise_NC = rng(1, "test", predictor.name).normal(size=(len(targets), 3))
        return (noise_NC + self.skill[predictor.name] * np.eye(3)[targets]).astype(np.float32)

    def embed(self, predictor, texts, *, task):
        return self.embed_rows(predictor, {"text": texts}, task=task)

    def embed_rows(self, predictor, inputs, *, task):
        texts = inputs["text"]
        self.calls.append(("embed", getattr(predictor, "name", "base"), len(texts)))
        seen = np.array([LABELS.index(t.split()[0]) if t.split()[0] in LABELS else 0 for t in texts])
        vectors_ND = rng(2, "test", texts[0]).normal(size=(len(texts), 8)) + 3 * np.eye(8)[seen]
        return (vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)).astype(np.float32)

    def embed_files(self, predictor, files, index_N, *, task, labels):
        texts = [text for file in files for text in pq.read_table(file).column("text").to_pylist()]
        return self.embed_rows(predictor, {"text": [texts[i] for i in index_N]}, task=task)

    def latency(self, predictor, inputs, *, task):
        self.calls.append(("latency", len(inputs["text"])))
        return {"p50": 1.5, "p99": 3.0}

    def params(self, model, inputs, *, task):
        return 1000

    def weights_bytes(self, model):
        return 4000


class Shown(Progress):
    def __init__(self):
        self.updates = []

    def update(self, name, done, total, unit, note=""):
        self.updates.append((name, done, total, unit, note))


@pytest.fixture
def corpus(tmp_path):
    for split, rows in ROWS.items():
        targets = rng(3, "test", split).integers(0, 3, rows)
        for part, some in enumerate(np.split(targets, [rows // 3])):
            file = tmp_path / "corpus" / split / f"{part:05d}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            texts = [f"{LABELS[t]} {split} {part} {i}" for i, t in enumerate(some)]
            pq.write_table(pa.table({"id": texts, "text": texts, "label": [LABELS[t] for t in some]}), file)
    return Corpus(fingerprint="c", path=tmp_path / "corpus", labels=LABELS, rows=ROWS, dropped={}, read=270)


@pytest.fixture
def room(tmp_path, corpus):
    """corpus, task, ctx (its engine and show remember), trial, student, council, base."""
    (tmp_path / "evaluate").mkdir()

    def model(name, stage):
        return Model(fingerprint=name, name=name, stage=stage, path=tmp_path / name, labels=LABELS, params=10, bytes=40)

    trial = model("trial-0001", "tune")
    return SimpleNamespace(
        corpus=corpus,
        task=TextClassification(),
        ctx=SimpleNamespace(folder=tmp_path / "evaluate", fingerprint="mark", seed=7, show=Shown(), name="evaluate", engine=Engine()),
        trial=trial,
        student=model("student", "distil"),
        council=Ensemble(fingerprint="e", members=(trial, model("trial-0002", "tune")), weights=(0.5, 0.5), score=0.9),
        base=ModelConfig(path="somewhere/base"),
    )
