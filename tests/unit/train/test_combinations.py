"""Settings that were each right alone: adapters and drawn poolers, scaled heads, two-sided models, kept columns and folds."""

import shutil
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from heliostat.core.layout import Layout
from heliostat.core.manifest import read_json
from heliostat.core.progress import Progress
from heliostat.engine import streams
from heliostat.engine.models import Store
from heliostat.engine.orders import ModelSource
from heliostat.tasks.text_regression import TextRegression
from heliostat.train.config import TrainConfig
from heliostat.train.orders import Export, Train
from heliostat.train.regularizers.base import Shifted
from heliostat.train.stage import training
from unit.train.test_session import fields

SMALL = {"vocab_size": 64, "d_model": 32, "max_position_embeddings": 64, "pad_token_id": 0}
T5 = {"d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
BART = {
    f"{side}_{what}": count for side in ("encoder", "decoder") for what, count in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 64))
}


def rows_of(ground, folder, name, task, labels, more, keep=()):
    """The rows of `ground`, with further columns, prepared for another task."""
    table = pq.read_table(ground.model.parent / f"{name}.parquet")
    for column, values in more(table.num_rows).items():
        table = table.append_column(column, pa.array(values))
    pq.write_table(table, folder / f"{name}.parquet")
    function = streams.Tokenise(str(ground.model), task, labels, keep)
    shared = {"identity": name, "map_pieces": lambda pieces, work: map(work, pieces)}
    return streams.prepare(folder / "rows", [folder / f"{name}.parquet"], function, **shared)


@pytest.mark.parametrize("adapter", ["ia3", "prompt_tuning", "lora"])
def test_a_number_is_learnt_beside_any_adapter(ground, worker, tmp_path, adapter):
    task = TextRegression(max_tokens=16)
    train, valid = (
        rows_of(ground, tmp_path, name, task, (), lambda rows: {"target": [500.0 + 10 * (i % 3) for i in range(rows)]})
        for name in ("train", "valid")
    )
    given = fields(ground, tmp_path / "training", adapter=adapter, objective="mean_squared_error")
    given |= {"task": task, "labels": (), "train_rows": train, "valid_rows": valid, "metric": "rmse"}
    gang = worker()
    reached = Train(**given, until=4).perform(gang)
    assert reached["best"]["value"] < 50, "the head begins at the mean of the targets"
    assert Export(**given, out=tmp_path / "model").perform(gang)["largest_logit_gap"] < 1.0


def test_prompt_tuning_saves_what_the_base_does_not_have(ground, worker, tmp_path):
    """A pooler that was drawn is inside of the body."""
    shutil.copytree(ground.model, tmp_path / "base")
    weights = load_file(tmp_path / "base" / "model.safetensors")
    save_file({n: w for n, w in weights.items() if not n.startswith("pooler.")}, tmp_path / "base" / "model.safetensors", {"format": "pt"})
    source = ModelSource(folder=str(tmp_path / "base"), revision="v2")
    given = fields(ground, tmp_path / "training", adapter="prompt_tuning") | {"model": source}
    gang = worker()
    Train(**given, until=4).perform(gang)
    trained = [name for name, p in gang.kept["session"].engine.module.named_parameters() if p.requires_grad]
    assert any("pooler" in name for name in trained)
    Export(**given, out=tmp_path / "model").perform(gang)  # it is opened again and compared
    assert read_json(tmp_path / "model" / "adapter_config.json")["revision"] == "v2"


@pytest.mark.parametrize(("name", "shape"), [("T5", T5), ("Bart", BART)])
def test_what_is_moved_is_what_a_two_sided_model_reads(name, shape):
    torch.manual_seed(0)
    module = getattr(transformers, f"{name}ForConditionalGeneration")(getattr(transformers, f"{name}Config")(**SMALL, **shape))
    shifted = Shifted(module)
    with shifted.by(None):
        module(input_ids=torch.randint(3, 60, (2, 7)), labels=torch.randint(3, 60, (2, 5)))
    assert shifted.delta.shape == (2, 7, 32)


def test_nothing_is_kept_of_layers_above_something_that_is_trained(ground, worker, tmp_path):
    """BART normalises its embeddings, before the layers, in a module that stands after them."""
    torch.manual_seed(0)
    shutil.copytree(ground.model, tmp_path / "bart")
    (tmp_path / "bart" / "model.safetensors").unlink()
    bart = transformers.BartConfig(**SMALL, **BART, bos_token_id=2, eos_token_id=3, decoder_start_token_id=3)
    transformers.BartModel(bart).save_pretrained(tmp_path / "bart")
    found = {}
    for room in (0.0, 1.0):
        given = fields(ground, tmp_path / str(room), freeze=2, dropout=0.0)
        given |= {"model": ModelSource(folder=str(tmp_path / "bart")), "frozen_gb": room}
        gang = worker()
        found[room] = Train(**given, until=4).perform(gang)["curve"]
        trunk = gang.kept["session"].trunk
        assert trunk is None or not trunk.of
    assert found[0.0] == found[1.0]


class Window:
    """A task whose model depends on an option."""

    model_reads = ("seconds",)

    def __init__(self, seconds):
        self.seconds = seconds

    def name(self):
        return "window"

    def model(self, folder, labels, layers, revision):
        module = torch.nn.Linear(self.seconds, 1)
        module.config = SimpleNamespace()
        return module, []


def test_a_gang_has_a_model_of_its_own_for_each_option_that_models_depend_on(monkeypatch):
    monkeypatch.setattr("heliostat.engine.models.processor", lambda *given: None)
    store, source = Store(), ModelSource(folder="m")
    assert [store.opened(source, None, Window(seconds)).in_features for seconds in (5, 2, 5)] == [5, 2, 5]
    assert store.opened(source, None, Window(2)) is store.opened(source, None, Window(2))


@pytest.mark.parametrize("train", [{"auxiliary": [{"column": "section"}]}, {"curriculum": {"use": "column", "column": "hard"}}])
def test_columns_that_are_learnt_from_are_in_every_fold(ground, worker, tmp_path, train):
    def more(rows):
        return {"section": [["a", "b"][i % 2] for i in range(rows)], "hard": np.arange(rows).astype(float)}

    def prepare(files, *, task, labels, model, keep=()):
        return rows_of(ground, tmp_path, files[0], task, labels, more, tuple(keep))

    corpus = SimpleNamespace(labels=ground.labels, split=lambda name: [name])
    told = {"name": "train", "fingerprint": "f", "folder": tmp_path / "run", "seed": 5, "show": Progress(), "layout": Layout()}
    ctx = SimpleNamespace(engine=SimpleNamespace(prepare=prepare), **told)
    config = TrainConfig(batch=6, epochs=2, optimizer={"use": "adamw", "lr": 1e-2}, **train)
    given = training(config, ctx=ctx, source=ModelSource(folder=str(ground.model)), corpus=corpus, task=ground.task)
    reached = Train(**given, fold=(0, 3, 7), until=2).perform(worker())
    assert reached["step"] == 2
