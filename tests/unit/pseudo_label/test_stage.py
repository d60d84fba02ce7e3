"""Texts a model is sure of become training rows, and nothing else of the corpus changes."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heliostat.artifacts import Corpus, Model
from heliostat.core import family
from heliostat.core.errors import UserError
from heliostat.core.progress import Progress
from heliostat.pseudo_label import stage
from heliostat.pseudo_label.config import PseudoLabelConfig

SPLITS = ("train", "valid", "test")
SOURCE = {"sources": [{"use": "jsonl", "paths": ["more.jsonl"]}]}


def corpus(folder, name, texts, **columns):
    """A corpus with these texts in its train split and one in each other split."""
    for split in SPLITS:
        (folder / name / split).mkdir(parents=True)
        held = texts if split == "train" else [f"{name} {split}"]
        table = {"id": [f"{name}-{text}" for text in held], "text": held, "label": [""] * len(held), "source": ["0"] * len(held)}
        table |= {"domain": ["domain"] * len(held), "weight": pa.array(np.ones(len(held), np.float32))}
        table |= {column: [value] * len(held) for column, value in columns.items()}
        pq.write_table(pa.table(table), folder / name / split / "part-00000.parquet")
    rows = {"train": len(texts), "valid": 1, "test": 1}
    return Corpus(fingerprint=name, path=folder / name, labels=("art", "sport"), rows=rows, dropped={}, read=len(texts) + 2)


@pytest.fixture
def learn(tmp_path, monkeypatch):
    """`learn(logits, **config)` labels five texts, one of them known; (the corpus that is trained on, what was told, the files asked)."""
    own = corpus(tmp_path, "own", ["a", "b"], label="art", shelf="top")
    more = corpus(tmp_path, "more", ["b", "c", "d"])
    asked, trained = [], []

    def fit(config, *, ctx, model, corpus, task):
        trained.append(corpus)
        return Model(fingerprint="m", name="trained", stage="train", path=tmp_path)

    monkeypatch.setattr(stage.train, "fit", fit)

    def run(logits, **config):
        engine = SimpleNamespace(predict=lambda teacher, files, *, task, show: asked.extend(files) or np.array(logits, np.float32))
        ctx = SimpleNamespace(engine=engine, folder=tmp_path / "stage", show=Progress(), name="pseudo_label")
        ctx.folder.mkdir(exist_ok=True)
        made = stage.learn(
            PseudoLabelConfig(corpus=SOURCE, **config),
            ctx=ctx, teacher=SimpleNamespace(name="ensemble"), model=None, corpus=own, unlabelled=more, task=None,
        )  # fmt: skip
        return made, trained[-1], json.loads((ctx.folder / "labels.json").read_text()), asked

    return run


SURE, UNSURE = [0.0, 4.0], [0.0, 1.0]  # 0.982 and 0.731 for sport


def test_what_is_sure_and_new_is_trained_on_beside_the_corpus(learn):
    made, rows, told, asked = learn([SURE, UNSURE, SURE, [4.0, 0.0], UNSURE], weight=0.5)
    table = pa.concat_tables([pq.read_table(file) for file in rows.split("train")])
    kept = table.select(["text", "label", "domain", "weight", "shelf"]).to_pylist()
    assert [tuple(row.values()) for row in kept] == [
        ("a", "art", "domain", 1.0, "top"), ("b", "art", "domain", 1.0, "top"),
        ("d", "sport", "pseudo", 0.5, None), ("more valid", "art", "pseudo", 0.5, None),
    ]  # fmt: skip
    assert rows.rows == {"train": 4, "valid": 1, "test": 1}
    assert pq.read_table(rows.split("test")[0]).column("text").to_pylist() == ["own test"]
    assert told["labels"] == {"art": 1, "sport": 1}
    assert (told["texts"], told["known"], told["rows"], told["teacher"]) == (5, 1, 2, "ensemble")
    assert made.name == "pseudo-labelled"
    assert len(asked) == 3


def test_confidence_is_the_probability_of_the_label():
    labels_N, sure_N = stage.labelled(np.array([[0.0, 1.0, 0.0], [-1e9, 0.0, -1e9], np.log([0.2, 0.3, 0.5])], np.float32))
    assert labels_N.tolist() == [1, 1, 2]
    assert sure_N == pytest.approx([np.e / (2 + np.e), 1.0, 0.5])


def test_nothing_to_add_is_told_with_the_surest_answer(learn):
    with pytest.raises(UserError, match=r"none of 5 texts .* confidence of 0.95; the surest answer has 0.731. Lower"):
        learn([SURE, UNSURE, UNSURE, UNSURE, UNSURE])


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"use": "text_classification"}, []),
        ({"use": "text_classification", "pair": True}, ["about pairs of texts"]),
        ({"use": "text_regression"}, ["about text_regression"]),
    ],
)
def test_it_is_for_classes_of_single_texts(task, words, tmp_path):
    (tmp_path / "more.jsonl").write_text("".join(json.dumps({"text": f"text {i}"}) + "\n" for i in range(9)))
    source = {"sources": [{"use": "jsonl", "paths": [str(tmp_path / "more.jsonl")]}]}
    found = PseudoLabelConfig(corpus=source).problems(family.build("tasks", task))
    assert len(found) == len(words)
    assert all(word in problem for word, problem in zip(words, found, strict=True))
