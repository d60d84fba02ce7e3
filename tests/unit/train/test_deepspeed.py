"""What DeepSpeed makes of a training: in a process of its own, for it changes torch.distributed for good."""

import itertools
import json
import os
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.multiprocessing

from contracts.media_samples import COLOURS, TONES, hearing, picture, pixels, recording, seeing, wave
from heliostat.engine import checkpoints, streams, zero
from heliostat.engine.group import Group
from heliostat.engine.models import Store
from heliostat.engine.orders import ModelSource
from heliostat.tasks.audio_classification import AudioClassification
from heliostat.tasks.image_classification import ImageClassification
from heliostat.train.config import TrainConfig
from heliostat.train.orders import Train

REGULARIZERS = {"fgm": "fgm", "pgd": {"use": "pgd", "steps": 2}, "freelb": {"use": "freelb", "steps": 2}, "r_drop": "r_drop"}
MEDIA = {
    "resnet": (ImageClassification(), seeing, tuple(COLOURS)),
    "whisper": (AudioClassification(seconds=1), hearing, tuple(TONES)),
}
STAGES = (0, 1, 2)
OFFLOADS = ("none", "optimizer", "parameters")


def order(ground, folder, stage=0, offload="none", **train):
    """Two updates of two passes each, validated after both."""
    config = {"batch": 6, "optimizer": {"use": "adamw", "lr": 1e-2}, "dropout": 0.0, "validate_every": 0.25, **train}
    told = {"task": ground.task, "key": folder.name, "folder": folder, "model": ModelSource(folder=str(ground.model)), "metric": "log_loss"}
    told |= {"labels": ground.labels, "train_rows": ground.train, "valid_rows": ground.valid, "seed": 5, "total": 2, "micro_rows": 3}
    return Train(**told, train=TrainConfig(**config), until=2, zero=stage, offload=offload)


def worker():
    """A gang's only rank, whom nobody listens to."""
    nobody = {"post": lambda event: None, "due": lambda every_s: False, "ask_ahead": lambda: None, "drop": lambda: None}
    return SimpleNamespace(group=Group(), models=Store(), kept={}, **nobody)


def work(rank, folder, orders):
    """DeepSpeed's process: every order, whatever the engine that it would have."""
    os.environ |= {"DS_ACCELERATOR": "cpu", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=0, world_size=1)
    zero.ZeroPlan.is_torchs = lambda self: False
    for each in orders:
        each.perform(worker())
    torch.distributed.destroy_process_group()


def media(folder, kind):
    """Rows and a model that see or hear."""
    task, write, labels = MEDIA[kind]
    rng = np.random.default_rng(3)
    given = [labels[i % 3] for i in range(6)]
    files = [
        picture(pixels(rng, tone=COLOURS[each])) if task.reads == "image" else recording(wave(rng, tone=TONES[each])) for each in given
    ]
    rows = {
        "id": list("abcdef"),
        task.reads: pa.array(files, pa.large_binary()),
        "label": given,
        "weight": pa.array([1.0] * 6, pa.float32()),
    }
    pq.write_table(pa.table(rows), folder / f"{kind}.parquet")
    model = write(folder / kind, kind)
    shared = {"identity": kind, "map_pieces": lambda pieces, work: map(work, pieces)}
    prepared = streams.prepare(folder / "rows", [folder / f"{kind}.parquet"], streams.Tokenise(model, task, labels), **shared)
    return SimpleNamespace(model=model, task=task, labels=labels, train=prepared, valid=prepared)


def few_words(ground):
    """Rows that name few of the model's words, so that the others are not trained."""
    return SimpleNamespace(**{**vars(ground), "train": ground.few_train, "valid": ground.few_valid})


@pytest.fixture(scope="module")
def done(ground, tmp_path_factory):
    """The folder of what DeepSpeed has trained."""
    folder = tmp_path_factory.mktemp("deepspeed")
    both = list(itertools.product(REGULARIZERS, STAGES))
    orders = [order(ground, folder / f"fp32-{name}-{stage}", stage, regularizer=REGULARIZERS[name]) for name, stage in both]
    orders += [order(ground, folder / f"bf16-{name}-{s}", s, regularizer=REGULARIZERS[name], precision="bf16") for name, s in both]
    orders += [order(media(folder, kind), folder / f"bf16-{kind}", 1, precision="bf16") for kind in MEDIA]
    orders += [order(few_words(ground), folder / f"bf16-few-{stage}", stage, precision="bf16") for stage in (*STAGES, 3)]
    orders += [order(ground, folder / f"bf16-{offload}", 3, offload, precision="bf16") for offload in OFFLOADS]
    again = order(ground, folder / "bf16-resumed", 3, "parameters", precision="bf16")
    orders += [again.model_copy(update={"until": 1}), again]
    torch.multiprocessing.spawn(work, (folder, orders), nprocs=1)
    return folder


def losses(folder):
    return [value for point in json.loads((folder / "result.json").read_text())["curve"] for value in (point["loss"], point["value"])]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", REGULARIZERS)
def test_a_regularizer_makes_the_same_updates_as_with_torch_alone(ground, done, tmp_path, name, stage):
    order(ground, tmp_path, regularizer=REGULARIZERS[name]).perform(worker())
    assert losses(done / f"fp32-{name}-{stage}") == pytest.approx(losses(tmp_path), rel=1e-5)  # float32
    assert losses(done / f"bf16-{name}-{stage}") == pytest.approx(losses(tmp_path), rel=0.05)  # three digits


@pytest.mark.parametrize("stage", [*STAGES, 3])
def test_words_that_no_text_names_are_left_out_whoever_divides_the_others(ground, done, tmp_path, stage):
    order(few_words(ground), tmp_path / "few").perform(worker())
    assert losses(done / f"bf16-few-{stage}") == pytest.approx(losses(tmp_path / "few"), rel=0.05)  # three digits
    few, every = (checkpoints.weights(checkpoints.latest(each / "best")) for each in (done / f"bf16-few-{stage}", done / "bf16-fgm-0"))
    assert [name for name in every if every[name].shape != few[name].shape] == ["bert.embeddings.word_embeddings.weight"]


@pytest.mark.parametrize("kind", MEDIA)
def test_models_that_see_and_hear_are_trained_in_16_bits(done, kind):
    assert np.isfinite(losses(done / f"bf16-{kind}")).all()


@pytest.mark.parametrize("offload", [*OFFLOADS[1:], "resumed"])
def test_what_lies_in_cpu_memory_makes_the_same_updates(done, offload):
    same, other = (checkpoints.latest(done / f"bf16-{each}" / "best") for each in ("none", offload))
    assert losses(done / f"bf16-{offload}") == losses(done / "bf16-none")
    weights = checkpoints.weights(same)
    assert weights
    assert all(torch.equal(value, weights[name]) for name, value in checkpoints.weights(other).items())
