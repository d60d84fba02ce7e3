"""A model that tags words is trained, exported, and answers the same as a plain transformers model."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForTokenClassification, AutoTokenizer, PreTrainedTokenizerFast

from heliostat.commands.tiny import PLAIN, THEMES, write_model
from heliostat.core import seeds
from heliostat.core.family import build
from heliostat.core.tags import marked, outputs
from heliostat.core.words import joined
from heliostat.engine import streams
from heliostat.engine.orders import ModelSource
from heliostat.engine.streams import opened
from heliostat.tasks.token_classification import TokenClassification
from heliostat.train.config import TrainConfig
from heliostat.train.orders import Export, Train

LABELS = tuple(outputs(f"B-{theme}" for theme in THEMES))
TOTAL = 48
TASK = TokenClassification(max_tokens=16)


def sentence(rng):
    """Plain words with a span of one or two words of a theme, some of which begin spans and some end them."""
    theme = str(rng.choice(list(THEMES)))
    inside = [rng.choice(THEMES[theme][:5]), rng.choice(THEMES[theme][5:])][: rng.integers(1, 3)]
    before = rng.choice(PLAIN, rng.integers(0, 4))
    tags = marked(len(before), None) + marked(len(inside), theme) + marked(2, None)
    return [str(word) for word in (*before, *inside, *rng.choice(PLAIN, 2))], tags


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    """`model`, `folder`, and prepared rows `train` and `valid`."""
    folder = tmp_path_factory.mktemp("tagged")
    write_model(folder / "model")

    def prepared(name, rows):
        rng = seeds.rng(2, "test", name)
        tokens, tags = zip(*(sentence(rng) for _ in range(rows)), strict=True)
        fixed = {"id": [f"{name}-{i}" for i in range(rows)], "weight": pa.array(rng.uniform(0.5, 2.0, rows).astype(np.float32))}
        pq.write_table(pa.table({**fixed, "tokens": tokens, "tags": tags}), folder / f"{name}.parquet")
        function = streams.Tokenise(str(folder / "model"), TASK, LABELS)
        files = [folder / f"{name}.parquet"]
        return streams.prepare(folder / "rows", files, function, identity=name, map_pieces=lambda pieces, work: map(work, pieces))

    return SimpleNamespace(model=folder / "model", train=prepared("train", 96), valid=prepared("valid", 32), file=folder / "valid.parquet")


def fields(tagged, folder, total=TOTAL, **train):
    config = {"batch": 16, "optimizer": {"use": "adamw", "lr": 5e-3}, "head_lr": 5e-2, "layer_decay": 0.9, "validate_every": 1.0, **train}
    return {
        "task": TASK,
        "key": "test",
        "folder": folder,
        "model": ModelSource(folder=str(tagged.model)),
        "labels": LABELS,
        "train": TrainConfig(**config),
        "train_rows": tagged.train,
        "valid_rows": tagged.valid,
        "seed": 5,
        "total": total,
        "metric": "span_f1",
        "micro_rows": 8,
        "accumulation": 2,
    }


def test_it_learns_to_find_spans_and_is_exported_as_a_plain_model(tagged, worker, tmp_path):
    gang, given = worker(), fields(tagged, tmp_path / "training")
    Train(**given, until=TOTAL).perform(gang)
    result = json.loads((tmp_path / "training" / "result.json").read_text())
    assert result["best"]["value"] > 0.9 > result["curve"][0]["value"]
    Export(**given, out=tmp_path / "model").perform(gang)

    answers = np.load(tmp_path / "training" / "valid.npy")
    targets = opened(tagged.valid).targets(TASK)
    assert answers.shape == (*targets.shape, len(LABELS))
    assert build("metrics", "span_f1").value(answers, targets) == pytest.approx(result["best"]["value"])
    model = AutoModelForTokenClassification.from_pretrained(tmp_path / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert [model.config.id2label[i] for i in range(len(LABELS))] == list(LABELS)
    for i, tokens in enumerate(pq.read_table(tagged.file).column("tokens").to_pylist()):
        with torch.no_grad():
            logits = model(**tokenizer(joined(tokens), return_tensors="pt")).logits[0, 1:-1].numpy()
        assert answers[i, : len(tokens)] == pytest.approx(logits, abs=1e-4)  # a token per word here; float32 in another batch
        assert not answers[i, len(tokens) :].any()


def test_classes_are_counted_by_word(tagged, worker, tmp_path):
    objective = {"use": "cross_entropy", "class_weights": "balanced"}
    Train(**fields(tagged, tmp_path, total=2, objective=objective), until=2).perform(worker())
    assert json.loads((tmp_path / "result.json").read_text())["step"] == 2


def test_balanced_classes_are_counted_in_what_is_trained_on(tagged, tmp_path):
    """With every token of a word tagged, the tokens after its first one are of a class that no word has."""
    model = shutil.copytree(tagged.model, tmp_path / "model")
    inside = Tokenizer(models.WordPiece({"[UNK]": 0, "[PAD]": 1, "boat": 2, "oven": 3, "##water": 4}, unk_token="[UNK]"))
    inside.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=inside, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(model)
    table = {"id": ["a"], "weight": pa.array([1.0], pa.float32()), "tokens": [["boat", "ovenwater"]], "tags": [["O", "B-art"]]}
    pq.write_table(pa.table(table), tmp_path / "rows.parquet")
    counts = {}
    for subwords in ("first", "all"):
        function = streams.Tokenise(str(model), TokenClassification(max_tokens=16, subwords=subwords), ("O", "B-art", "I-art"))
        given = {"identity": subwords, "map_pieces": lambda pieces, work: map(work, pieces)}
        counts[subwords] = opened(streams.prepare(tmp_path / "rows", [tmp_path / "rows.parquet"], function, **given)).classes().tolist()
    assert counts == {"first": [0, 1], "all": [0, 1, 2]}


def test_a_global_batch_is_the_same_update_however_it_is_cut(tagged, worker, tmp_path):
    losses = []
    for micro, accumulation in ((16, 1), (4, 4)):
        folder = tmp_path / str(micro)
        cut = {"micro_rows": micro, "accumulation": accumulation}
        Train(**{**fields(tagged, folder, total=3, dropout=0.0), **cut}, until=3).perform(worker())
        losses.append([point["loss"] for point in json.loads((folder / "result.json").read_text())["curve"]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)  # float32 sums in another order
