"""Frozen layers are asked once for each row, and the training is the same as if they were asked every time."""

import numpy as np
import pytest
import torch

from heliostat.engine import checkpoints, trunk
from heliostat.engine.models import open_model
from heliostat.engine.orders import ModelSource
from heliostat.engine.predict import batch_of
from heliostat.engine.streams import FROZEN, opened, processor
from heliostat.train.config import TrainConfig
from heliostat.train.orders import Train

TOTAL = 8


@pytest.fixture
def order(ground, tmp_path):
    """`order(name, until=TOTAL, frozen_gb=1.0, **train)` is a training with the first of two layers frozen."""

    def made(name, until=TOTAL, frozen_gb=1.0, total=TOTAL, **train):
        config = {"batch": 6, "optimizer": {"use": "adamw", "lr": 1e-2}, "validate_every": 0.5, "freeze": 1, **train}
        return Train(
            task=ground.task,
            key=name,
            folder=tmp_path / name,
            model=ModelSource(folder=str(ground.model)),
            labels=ground.labels,
            train=TrainConfig(**config),
            train_rows=ground.train,
            valid_rows=ground.valid,
            seed=5,
            total=total,
            metric="log_loss",
            micro_rows=3,
            frozen_gb=frozen_gb,
            until=until,
        )

    return made


@pytest.fixture
def asked(monkeypatch):
    """Rows that the frozen layers were asked about, pass by pass."""
    seen = []
    own = trunk.Trunk._instead

    def instead(self, layer, last):
        layer.register_forward_pre_hook(lambda _module, inputs: seen.append(len(inputs[0])) if self._output is None else None)
        return own(self, layer, last)

    monkeypatch.setattr(trunk.Trunk, "_instead", instead)
    return seen


@pytest.fixture(autouse=True)
def nothing_kept(ground):
    """What an earlier test kept is gone."""
    import shutil

    for split in (ground.train, ground.valid):
        for folder in split.glob(f"{FROZEN}*"):
            shutil.rmtree(folder)


def weights(order):
    return checkpoints.weights(checkpoints.latest(order.folder / "best"))


def test_the_weights_are_those_of_a_training_that_asks_every_time(order, worker):
    kept, anew = order("kept"), order("anew", frozen_gb=0)
    one, other = kept.perform(worker()), anew.perform(worker())
    assert [p["step"] for p in one["curve"]] == [p["step"] for p in other["curve"]] == [2, 4, 6, 8]
    for a, b in zip(one["curve"], other["curve"], strict=True):
        assert a["value"] == pytest.approx(b["value"], abs=1e-5)
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
    assert all(torch.allclose(value, weights(anew)[name], atol=1e-4) for name, value in weights(kept).items())


def test_each_row_is_asked_once_and_never_again_by_the_next_training(order, worker, asked, ground):
    order("first").perform(worker())
    rows = len(opened(ground.train)) + len(opened(ground.valid))
    probes = 2 * trunk.PROBED
    assert sum(asked) == rows + probes
    asked.clear()
    order("second", optimizer={"use": "adamw", "lr": 3e-3}).perform(worker())
    assert sum(asked) == probes


def test_layers_that_are_computed_again_are_asked_once_too(order, worker, asked, ground):
    again, plainly = order("again", gradient_checkpointing=True), order("plainly")
    again.perform(worker())
    assert sum(asked) == len(opened(ground.train)) + len(opened(ground.valid)) + 2 * trunk.PROBED
    plainly.perform(worker())
    assert all(torch.allclose(value, weights(plainly)[name], atol=1e-4) for name, value in weights(again).items())


def test_going_on_from_disk_gives_the_same_bits(order, worker):
    whole, halves = order("whole"), order("halves")
    whole.perform(worker())
    order("halves", until=3).perform(worker())
    halves.perform(worker())
    assert all(torch.equal(value, weights(halves)[name]) for name, value in weights(whole).items())


def test_what_is_kept_does_not_depend_on_who_computed_it(order, worker, ground):
    def files():
        (folder,) = ground.train.glob(f"{FROZEN}*")
        return (folder / "outputs").read_bytes()

    order("one").perform(worker())
    first = files()
    (folder,) = ground.train.glob(f"{FROZEN}*")
    (folder / "done").unlink()  # a worker that was killed before it said so
    order("two").perform(worker())
    assert files() == first


def test_frozen_layers_drop_nothing(ground):
    module, _ = open_model(ModelSource(folder=str(ground.model)), ground.labels, ground.task)
    from heliostat.engine.models import freeze, set_dropout

    set_dropout(module, 0.5)
    freeze(module, 1)
    trunk.still(module)
    drops = {name: child.p for name, child in module.named_modules() if isinstance(child, torch.nn.Dropout)}
    assert {p for name, p in drops.items() if "embeddings" in name or "layer.0" in name} == {0.0}
    assert {p for name, p in drops.items() if "layer.1" in name} == {0.5}


@pytest.mark.parametrize(
    ("told", "train"),
    [
        ("nothing frozen", {"freeze": 0}),
        ("the embeddings are trained", {"freeze": ["*layer.0.*"]}),
        ("perturbed embeddings pass the frozen layers", {"regularizer": {"use": "fgm"}}),
        ("an adapter in every layer", {"freeze": 0, "adapter": {"use": "lora", "r": 2}}),
    ],
)
def test_where_layers_must_be_asked_they_are(order, worker, ground, told, train):
    order("plain", **train).perform(worker())
    assert not list(ground.train.glob(f"{FROZEN}*")), told


def test_patterns_that_freeze_from_the_input_on_are_kept_too(order, worker, ground):
    order("patterns", freeze=["*embeddings*", "*layer.0.*"]).perform(worker())
    assert list(ground.train.glob(f"{FROZEN}*"))


def test_a_training_of_less_than_an_epoch_computes_nothing_ahead(order, worker, ground):
    order("short", until=2, total=2).perform(worker())
    assert not list(ground.train.glob(f"{FROZEN}*"))


def test_more_than_there_is_room_for_is_not_kept(order, worker, ground):
    order("small", frozen_gb=1e-6).perform(worker())
    assert not list(ground.train.glob(f"{FROZEN}*"))


def test_a_full_disk_costs_time_and_nothing_else(order, worker, monkeypatch):
    def full(file, data, offset):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trunk, "_put", full)
    full_disk, anew = order("full"), order("anew", frozen_gb=0)
    assert full_disk.perform(worker())["curve"][-1]["value"] == anew.perform(worker())["curve"][-1]["value"]


def test_outputs_that_depend_on_the_batch_are_not_trusted(ground, worker):
    """A model that sees what a batch is filled up with: what is kept of a row is not what it gives in another batch."""
    gang, task = worker(), ground.task
    module, _ = open_model(ModelSource(folder=str(ground.model)), ground.labels, task)
    parent = trunk.models.encoder_layers(module)[2]
    own = parent[0].forward
    parent[0].forward = lambda hidden, *rest, **more: own(hidden, *rest, **more) + hidden.shape[1]
    rows, prepared = opened(ground.train), processor(task, str(ground.model))
    found = trunk.Trunk(module, [parent[0]], "seen")
    module.train()
    assert found.keep(rows, task, prepared, gang.group, 1e9) == 0
    assert not found.of
    batch = batch_of(rows, np.arange(4), task, prepared, (0,))
    with found.given(rows, np.arange(4)):
        assert torch.isfinite(task.logits(module, batch)).all()
