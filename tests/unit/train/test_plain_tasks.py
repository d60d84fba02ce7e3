"""Each task with one answer per row: trained for a few steps, exported, and opened again with nothing but transformers."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import transformers

from contracts.samples_plain import SAMPLES, Sample
from heliostat.core import family
from heliostat.core.values import arrow_type
from heliostat.engine import streams
from heliostat.engine.models import raw_logits
from heliostat.engine.orders import ModelSource
from heliostat.engine.predict import batch_of
from heliostat.train.config import LoraConfig, TrainConfig
from heliostat.train.orders import Export, Train

TOTAL = 12
CASES = {f"{name}-{i}": (name, sample) for name, samples in SAMPLES.items() for i, sample in enumerate(samples)}


@pytest.fixture
def prepared(tmp_path):
    """`prepared(name, sample)` gives the task and its rows as the corpus and the tokenizer leave them."""

    def make(name: str, sample: Sample):
        folder = tmp_path / name
        sample.write(folder / "model")
        task = family.build("tasks", {"use": name, "max_tokens": 16, **sample.options})
        rows = [task.row(values) for values in sample.values]
        schema = pa.schema([(column, arrow_type(column)) for column in task.columns()])

        def split(kind, count):
            many = list(itertools.islice(itertools.cycle(rows), count))
            table = pa.Table.from_pylist(many, schema=schema)
            table = table.append_column("id", pa.array([f"{kind}-{i}" for i in range(count)]))
            table = table.append_column("weight", pa.array(np.linspace(0.5, 1.5, count, dtype=np.float32)))
            pq.write_table(table, folder / f"{kind}.parquet")
            work = streams.Tokenise(str(folder / "model"), task, tuple(sample.labels))
            maps = {"identity": kind, "map_pieces": lambda pieces, work: map(work, pieces)}
            return streams.prepare(folder / "rows", [folder / f"{kind}.parquet"], work, **maps)

        return SimpleNamespace(task=task, sample=sample, rows=rows, folder=folder, train=split("train", 14), valid=split("valid", 5))

    return make


def fields(made, **train):
    config = {
        "batch": 14,
        "optimizer": {"use": "adamw", "lr": 1e-2},
        "objective": made.task.objective,
        "dropout": 0.0,
        "validate_every": 1.0,
        **train,
    }
    return {
        "task": made.task,
        "key": "test",
        "folder": made.folder / "training",
        "model": ModelSource(folder=str(made.folder / "model")),
        "labels": tuple(made.sample.labels),
        "train": TrainConfig(**config),
        "train_rows": made.train,
        "valid_rows": made.valid,
        "seed": 5,
        "total": TOTAL,
        "metric": made.task.metric,
        "micro_rows": 7,
        "accumulation": 2,
    }


def trained(made, worker, **train):
    """(curve, exported folder)."""
    given = fields(made, **train)
    reached = Train(**given, until=TOTAL).perform(worker())
    Export(**given, out=made.folder / "exported").perform(worker())
    return reached, made.folder / "exported"


@pytest.mark.parametrize("case", CASES)
def test_a_task_is_trained_and_opened_again_by_transformers_alone(prepared, worker, case):
    made = prepared(*CASES[case])
    reached, exported = trained(made, worker)
    losses = [point["loss"] for point in reached["curve"]]
    assert len(losses) == TOTAL
    assert all(np.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]
    module = getattr(transformers, made.task.auto).from_pretrained(exported).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    assert json.loads((exported / "heliostat.json").read_text())["task"]["use"] == made.task.name()
    valid = streams.opened(made.valid)
    index_N = np.arange(len(valid))
    batch = batch_of(valid, index_N, made.task, tokenizer, (0, "valid"))
    with torch.no_grad():
        answers = made.task.answers(made.task.logits(module, batch), batch).numpy()
    kept_N = np.load(made.folder / "training" / "valid.npy")
    assert answers == pytest.approx(kept_N, rel=1e-3, abs=1e-3)  # float32 additions over another padding


def test_a_regression_answers_in_the_unit_of_its_targets_from_the_first_step(prepared, worker):
    far = Sample([{**values, "target": 5000.0 + 40 * i} for i, values in enumerate(SAMPLES["text_regression"][0].values)])
    made = prepared("text_regression", far)
    reached, exported = trained(made, worker)
    targets_N = streams.opened(made.train).targets(made.task)
    assert reached["curve"][0]["value"] < 3 * targets_N.std()  # a head drawn around zero would be 5000 away
    state = transformers.AutoModelForSequenceClassification.from_pretrained(exported).state_dict()
    assert not [name for name in state if "parametrizations" in name]
    assert float(state["classifier.bias"]) == pytest.approx(targets_N.mean(), abs=targets_N.std())


def test_an_unscaled_regression_begins_at_zero_as_transformers_would(prepared, worker):
    far = Sample([{**values, "target": 5000.0} for values in SAMPLES["text_regression"][0].values], options={"scale": False})
    made = prepared("text_regression", far)
    reached, _ = trained(made, worker)
    assert reached["curve"][0]["value"] == pytest.approx(5000, abs=50)


def test_a_scaled_head_goes_on_from_disk_and_under_adapters(prepared, worker):
    far = Sample([{**values, "target": 300.0 + 40 * i} for i, values in enumerate(SAMPLES["text_regression"][0].values)])
    made = prepared("text_regression", far)
    given = fields(made, lora=LoraConfig(r=2))
    for until in (5, TOTAL):  # each in a gang of its own: the second goes on from the checkpoint
        reached = Train(**given, until=until).perform(worker())
    Export(**given, out=made.folder / "exported").perform(worker())
    assert reached["curve"][-1]["value"] < reached["curve"][0]["value"]
    whole = {**given, "folder": made.folder / "whole"}
    assert Train(**whole, until=TOTAL).perform(worker())["best"] == reached["best"]
    module = transformers.AutoModelForSequenceClassification.from_pretrained(made.folder / "exported").eval()
    valid = streams.opened(made.valid)
    batch = batch_of(valid, np.arange(len(valid)), made.task, made.task.processor(str(made.folder / "exported")), (0, "valid"))
    kept_N1 = np.load(made.folder / "training" / "valid.npy")
    assert raw_logits(made.task, module, batch) == pytest.approx(kept_N1, rel=1e-3)
