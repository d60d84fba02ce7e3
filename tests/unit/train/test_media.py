"""Models that see and hear are trained, exported, and opened by plain transformers."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import pipeline

from contracts.media_samples import COLOURS, RATE, TONES, hearing, picture, pixels, recording, seeing, wave
from heliostat.core import seeds
from heliostat.core.errors import UserError
from heliostat.engine import streams
from heliostat.engine.orders import ModelSource
from heliostat.engine.predict import Embed, EmbedRows, Time
from heliostat.engine.streams import opened
from heliostat.tasks.audio_classification import AudioClassification
from heliostat.tasks.image_classification import ImageClassification
from heliostat.train.config import TrainConfig
from heliostat.train.orders import Export, Train

TOTAL = 30
KINDS = {
    "vit": (ImageClassification(), seeing, tuple(COLOURS)),
    "resnet": (ImageClassification(keep="files"), seeing, tuple(COLOURS)),
    "whisper": (AudioClassification(seconds=1), hearing, tuple(TONES)),
    "masked waves": (AudioClassification(seconds=1), hearing, tuple(TONES)),
}


def made(task, label, rng):
    """A file of a class: a colour, or a tone."""
    if task.reads == "image":
        return picture(pixels(rng, tone=COLOURS[label]))
    return recording(wave(rng, rng.uniform(0.4, 1.2), tone=TONES[label] * rng.uniform(0.95, 1.05)))


@pytest.fixture(scope="module", params=list(KINDS))
def ground(request, tmp_path_factory):
    return ground_of(request.param, tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="module")
def seen_by_resnet(tmp_path_factory):
    return ground_of("resnet", tmp_path_factory.mktemp("media"))


def ground_of(kind, folder):
    """`model`, `task`, `labels`, and prepared rows `train` and `valid` with the file of the latter."""
    task, write, labels = KINDS[kind]
    model = write(folder / "model", kind)

    def prepared(name, rows):
        rng = seeds.rng(1, "test", name)
        given = [labels[i % 3] for i in range(rows)]
        files = pa.array([made(task, label, rng) for label in given], pa.large_binary())
        weights = pa.array(rng.uniform(0.5, 2.0, rows).astype(np.float32))
        table = pa.table({"id": [f"{name}-{i}" for i in range(rows)], task.reads: files, "label": given, "weight": weights})
        pq.write_table(table, folder / f"{name}.parquet")
        function = streams.Tokenise(model, task, labels)
        files = [folder / f"{name}.parquet"]
        return streams.prepare(folder / "rows", files, function, identity=name, map_pieces=lambda pieces, work: map(work, pieces))

    return SimpleNamespace(
        kind=kind, model=model, task=task, labels=labels, train=prepared("train", 36), valid=prepared("valid", 12), folder=folder
    )


def fields(ground, folder, **train):
    config = {"batch": 12, "optimizer": {"use": "adamw", "lr": 1e-2}, "validate_every": 2.0, **train}
    return {
        "task": ground.task,
        "key": "test",
        "folder": folder,
        "model": ModelSource(folder=ground.model),
        "labels": ground.labels,
        "train": TrainConfig(**config),
        "train_rows": ground.train,
        "valid_rows": ground.valid,
        "seed": 5,
        "total": TOTAL,
        "metric": "log_loss",
        "micro_rows": 6,
        "accumulation": 2,
    }


def test_it_learns_and_is_exported_as_a_plain_model(ground, worker, tmp_path):
    gang, given = worker(), fields(ground, tmp_path / "training")
    result = Train(**given, until=TOTAL).perform(gang)
    assert result["best"]["value"] < 0.95 * np.log(3), "better than guessing among three"
    facts = Export(**given, out=tmp_path / "model").perform(gang)
    assert facts["largest_logit_gap"] < 1e-4
    saved = np.load(tmp_path / "training" / "valid.npy")
    answer = pipeline(f"{ground.task.reads}-classification", model=str(tmp_path / "model"), top_k=3)
    for row, data in enumerate(pq.read_table(ground.folder / "valid.parquet").column(ground.task.reads).to_pylist()[:3]):
        told = {each["label"]: each["score"] for each in answer(raw(ground.task, data))}
        expected = np.exp(saved[row] - saved[row].max()) / np.exp(saved[row] - saved[row].max()).sum()
        # float16 features and a recording of 16 bits on the one side, floats on the other
        assert [told[label] for label in ground.labels] == pytest.approx(expected.tolist(), abs=2e-3)


def raw(task, data):
    """What a user of plain transformers hands to a pipeline."""
    import io

    if task.reads == "image":
        from PIL import Image

        return Image.open(io.BytesIO(data))
    import soundfile

    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    return {"raw": samples[: round(task.seconds * RATE)], "sampling_rate": rate}


def test_going_on_from_disk_is_the_same_training(ground, worker, tmp_path):
    for name, stops in (("whole", (6,)), ("parts", (3, 6))):
        for until in stops:
            Train(**fields(ground, tmp_path / name), until=until).perform(worker())
    whole, parts = ((tmp_path / name / "valid.npy").read_bytes() for name in ("whole", "parts"))
    assert whole == parts


def test_prepared_rows_and_raw_ones_give_the_same_vectors(ground, worker, tmp_path):
    index = np.array([7, 2, 11])
    shared = {"task": ground.task, "model": ModelSource(folder=ground.model)}
    EmbedRows(**shared, rows=ground.valid, index=index, out=tmp_path / "rows.npy").perform(worker())
    files = pq.read_table(ground.folder / "valid.parquet").column(ground.task.reads).to_pylist()
    Embed(**shared, inputs={ground.task.reads: [files[i] for i in index]}, out=tmp_path / "raw.npy").perform(worker())
    rows, raws = (np.load(tmp_path / f"{name}.npy") for name in ("rows", "raw"))
    assert rows == pytest.approx(raws, abs=1e-6)  # float32
    assert np.abs(rows[0] - rows[1]).max() > 1e-4


def test_a_row_is_timed_from_its_file(ground, worker):
    files = pq.read_table(ground.folder / "valid.parquet").column(ground.task.reads).to_pylist()[:4]
    for labels in (None, ground.labels):
        took = Time(task=ground.task, model=ModelSource(folder=ground.model), labels=labels, inputs={ground.task.reads: files}).perform(
            worker()
        )
        assert len(took["ms"]) == 4
        assert took["params"] > 1000


def test_prepared_rows_are_small_and_can_be_put_together(ground):
    train, valid = opened(ground.train), opened(ground.valid)
    both = train.beside(valid)
    assert len(both.only(np.arange(len(both)) % 2 == 0)) == len(both) // 2
    kinds = {field.name: field.type for field in train.table.schema if field.name in ("pixels", "image", "samples", "features")}
    assert all(pa.types.is_large_binary(kind) for kind in kinds.values())
    assert len(kinds) == 1
    if ground.kind == "masked waves":
        assert len(np.unique(train.lengths_N)) > 1, "rows of like lengths are predicted together"
    assert torch.get_num_threads() == 1


WITHOUT = {
    "regularizer": r"train\.regularizer: it moves .* Use r_drop",
    "gradient_checkpointing": r"train\.gradient_checkpointing: .* Leave it out",
}


@pytest.mark.parametrize("setting", WITHOUT)
def test_what_a_model_has_no_place_for_is_refused(setting, worker, tmp_path, seen_by_resnet):
    given = fields(seen_by_resnet, tmp_path / "training", **{setting: {"regularizer": "fgm"}.get(setting, True)})
    with pytest.raises(UserError, match=WITHOUT[setting]):
        Train(**given, until=1).perform(worker())
