"""A training leaves the rows of the embedding alone that its texts do not name; all else is as if it did not."""

import numpy as np
import pytest
import torch

from heliostat.engine import checkpoints, vocabulary
from heliostat.engine.models import open_model
from heliostat.engine.orders import ModelSource
from heliostat.engine.streams import tokens_in
from heliostat.train.orders import Export, Train
from unit.train.test_session import TOTAL, assert_same, fields, reached

TABLE = "bert.embeddings.word_embeddings.weight"


def few(ground, folder, **train):
    return fields(ground, folder, **train) | {"train_rows": ground.few_train, "valid_rows": ground.few_valid}


def named(ground):
    found = tokens_in(ground.few_train, ground.few_valid)
    assert found is not None
    return found


def whole_table(weights, ground):
    """The same weights with the rows of all words."""
    ids_N, table = named(ground), weights[TABLE]
    out = torch.zeros(int(ids_N.max()) + 1, table.shape[1])
    out[ids_N] = table if len(table) == len(ids_N) else table[ids_N]
    return {**weights, TABLE: out}


def test_it_reaches_what_a_training_of_all_rows_reaches(ground, worker, tmp_path, monkeypatch):
    Train(**few(ground, tmp_path / "few"), until=TOTAL).perform(worker())
    monkeypatch.setattr(vocabulary, "MOST", -1.0)
    Train(**few(ground, tmp_path / "all"), until=TOTAL).perform(worker())
    (few_result, few_weights, few_answers), (result, weights, answers) = reached(tmp_path / "few"), reached(tmp_path / "all")
    assert few_weights[TABLE].shape[0] == len(named(ground)) < weights[TABLE].shape[0]
    assert_same((few_result, whole_table(few_weights, ground), few_answers), (result, whole_table(weights, ground), answers))


def test_it_goes_on_from_disk(ground, worker, tmp_path):
    Train(**few(ground, tmp_path / "whole", ema=0.9), until=TOTAL).perform(worker())
    Train(**few(ground, tmp_path / "parts", ema=0.9), until=3).perform(worker())
    Train(**few(ground, tmp_path / "parts", ema=0.9), until=TOTAL).perform(worker())
    one, other = reached(tmp_path / "whole"), reached(tmp_path / "parts")
    assert all(torch.equal(one[1][name], other[1][name]) for name in one[1])
    assert one[2] == other[2]


def test_the_export_has_every_row(ground, worker, tmp_path):
    gang, given = worker(), few(ground, tmp_path / "training")
    Train(**given, until=4).perform(gang)
    Export(**given, out=tmp_path / "model").perform(gang)
    source = ModelSource(folder=str(ground.model))
    before = open_model(source, ground.labels, ground.task)[0].state_dict()[TABLE]
    after = open_model(ModelSource(folder=str(tmp_path / "model")), ground.labels, ground.task)[0].state_dict()[TABLE]
    best = checkpoints.weights(checkpoints.latest(tmp_path / "training" / "best"))[TABLE]
    assert after.shape == before.shape
    assert torch.equal(after[named(ground)], best)
    others_N = np.setdiff1d(np.arange(len(before)), named(ground))
    assert torch.equal(after[others_N], before[others_N])


@pytest.mark.parametrize(("train", "rows"), [({}, "few"), ({"optimizer": {"use": "adafactor"}}, "all"), ({"freeze": 1}, "all"),
                                             ({"adapter": {"use": "lora", "r": 2}}, "all")])  # fmt: skip
def test_what_sees_the_embedding_as_a_whole_or_not_at_all_has_all_of_it(ground, worker, tmp_path, train, rows):
    gang = worker()
    Train(**few(ground, tmp_path, **train), until=1).perform(gang)
    found = any(isinstance(part, vocabulary.Words) for part in gang.kept["session"].engine.module.modules())
    assert found == (rows == "few")
