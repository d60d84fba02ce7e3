"""A training goes on from memory, from disk or from the start, with the same weights; its best step is exported."""

import json

import pytest
import torch

from heliostat.core.errors import Diverged
from heliostat.engine import checkpoints
from heliostat.engine.orders import ModelSource
from heliostat.train import session
from heliostat.train.config import LoraConfig, TrainConfig
from heliostat.train.session import Export, Train, validation_interval

TOTAL = 8


def fields(ground, folder, **train):
    config = {"batch": 6, "optimizer": {"use": "adamw", "lr": 1e-2}, "dropout": 0.1, "validate_every": 0.5, **train}
    return {
        "task": ground.task,
        "key": "test",
        "folder": folder,
        "model": ModelSource(folder=str(ground.model)),
        "labels": ground.labels,
        "train": TrainConfig(**config),
        "train_rows": ground.train,
        "valid_rows": ground.valid,
        "seed": 5,
        "total": TOTAL,
        "metric": "log_loss",
        "micro_rows": 3,
        "accumulation": 2,
    }


def reached(folder):
    """(result without its seconds, best weights, predictions)."""
    result = json.loads((folder / "result.json").read_text())
    del result["busy_s"]
    best = checkpoints.latest(folder / "best")
    return result, checkpoints.weights(best), (folder / "valid.npy").read_bytes()


def assert_same(one, other):
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    assert all(torch.equal(one[1][name], other[1][name]) for name in one[1])
    assert one[2] == other[2]


@pytest.fixture
def uninterrupted(ground, worker, tmp_path):
    Train(**fields(ground, tmp_path / "whole"), until=TOTAL).perform(worker())
    return reached(tmp_path / "whole")


def test_a_training_learns_and_tells_its_curve(uninterrupted):
    result = uninterrupted[0]
    assert [point["step"] for point in result["curve"]] == [2, 4, 6, 8]
    assert [point["epoch"] for point in result["curve"]] == [0.5, 1.0, 1.5, 2.0]
    assert result["best"]["value"] == min(point["value"] for point in result["curve"]) < result["curve"][0]["value"]


def test_going_on_from_memory_is_the_same_training(ground, worker, tmp_path, uninterrupted):
    gang = worker()
    for until in (4, TOTAL):
        Train(**fields(ground, tmp_path / "parts"), until=until).perform(gang)
    assert_same(reached(tmp_path / "parts"), uninterrupted)


def test_going_on_from_disk_in_another_process_is_the_same_training(ground, worker, tmp_path, uninterrupted):
    for until in (4, TOTAL):
        Train(**fields(ground, tmp_path / "parts"), until=until).perform(worker())
    assert_same(reached(tmp_path / "parts"), uninterrupted)


def test_a_broken_checkpoint_starts_again_and_ends_the_same(ground, worker, tmp_path, uninterrupted):
    folder = tmp_path / "parts"
    Train(**fields(ground, folder), until=4).perform(worker())
    weights = folder / "latest" / "step-00000004" / "states-00000.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    Train(**fields(ground, folder), until=TOTAL).perform(worker())
    assert_same(reached(folder), uninterrupted)


def test_the_second_training_of_a_gang_is_that_of_a_fresh_process(ground, worker, tmp_path, uninterrupted):
    gang = worker()
    other = fields(ground, tmp_path / "other", optimizer={"use": "sgd", "lr": 0.1}) | {"key": "other", "seed": 99}
    Train(**other, until=4).perform(gang)
    Train(**fields(ground, tmp_path / "second"), until=TOTAL).perform(gang)
    assert_same(reached(tmp_path / "second"), uninterrupted)


def test_what_is_reached_is_not_done_again(ground, worker, tmp_path):
    given = Train(**fields(ground, tmp_path), until=4).perform(worker())
    gang = worker()
    gang.models = None  # nothing may be opened
    assert Train(**fields(ground, tmp_path), until=2).perform(gang) == given
    assert gang.posted == []


def test_only_the_newest_and_the_best_checkpoints_stay(ground, worker, tmp_path):
    gang = worker()
    for until in (2, 4, 6):
        Train(**fields(ground, tmp_path), until=until).perform(gang)
    assert [p.name for p in (tmp_path / "latest").iterdir()] == ["step-00000006"]
    assert len(list((tmp_path / "best").iterdir())) == 1


def test_weights_that_are_not_numbers_end_the_training(ground, worker, tmp_path, monkeypatch):
    forward = session.forward
    monkeypatch.setattr(session, "forward", lambda *args: forward(*args) * float("nan"))
    with pytest.raises(Diverged, match=r"validation gave .* at step 2 with learning rate"):
        Train(**fields(ground, tmp_path), until=4).perform(worker())
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("lora", [None, LoraConfig(r=2, dropout=0.2)])
def test_the_best_step_is_exported_as_a_plain_model(ground, worker, tmp_path, lora):
    gang = worker()
    given = fields(ground, tmp_path / "training", lora=lora)
    Train(**given, until=4).perform(gang)
    facts = Export(**given, out=tmp_path / "model").perform(gang)
    again, missing = ground.task.model(str(tmp_path / "model"), list(ground.labels), None)
    assert missing == []
    assert facts["params"] == sum(p.numel() for p in again.parameters())
    rows = session.opened(ground.valid)
    saved = torch.from_numpy(session.np.load(tmp_path / "training" / "valid.npy"))
    with torch.no_grad():
        logits = ground.task.logits(again.eval(), ground.task.collate(session.columns(rows, range(len(rows))), 0))
    # the same weights in another batch, and for adapters another order of additions: float32 rounding
    assert torch.allclose(logits, saved, atol=1e-5)


@pytest.mark.parametrize(("every", "rows", "steps"), [(0.25, 160, 2), (0.25, 17, 1), (1.0, 161, 11), (0.001, 160, 1)])
def test_validations_come_every_so_many_steps(every, rows, steps):
    assert validation_interval(TrainConfig(batch=16, validate_every=every), rows) == steps
