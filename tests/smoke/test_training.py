"""One loop on real gangs: worker counts, ZeRO stages, warm and fresh, killed and not, give the same training."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest

from heliostat.core.layout import Layout
from heliostat.core.manifest import read_json
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context
from heliostat.engine import checkpoints
from heliostat.engine.driver import Engine, source_of
from heliostat.train.config import TrainConfig
from heliostat.train.orders import Train
from heliostat.train.stage import fit, train_fully, training

pytestmark = pytest.mark.slow

PLAIN = TrainConfig(epochs=1, batch=12, optimizer={"use": "adamw", "lr": 3e-4}, validate_every=0.4, dropout=0.0)
RESULT = "result.json"


def fields(ctx, minilm, bbc, task, config=PLAIN, key="train", **changes):
    return training(config, ctx=ctx, source=source_of(minilm), corpus=bbc, task=task, key=key) | changes


def losses(ctx, key="train"):
    return [point["loss"] for point in read_json(ctx.folder / key / RESULT)["curve"]]


def best_weights(ctx, key="train"):
    return checkpoints.weights(checkpoints.latest(ctx.folder / key / "best"))


def same_bits(one, other):
    assert one.keys() == other.keys()
    return all(np.array_equal(one[name].numpy(), other[name].numpy()) for name in one)


@pytest.fixture(scope="module")
def alone(engines, minilm, bbc, task, tmp_path_factory):
    """One worker, ZeRO 0: what everything else is compared with."""
    folder = tmp_path_factory.mktemp("alone")
    ctx = Context(folder, "alone", 7, engines[1].layout, engines[1], Progress(), "train")
    train_fully(fields(ctx, minilm, bbc, task), ctx)
    return ctx


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_two_workers_at_every_zero_stage_have_the_losses_of_one(stage, alone, context, minilm, bbc, task):
    ctx = context(2)
    train_fully(fields(ctx, minilm, bbc, task, zero=stage), ctx)
    assert losses(ctx) == pytest.approx(losses(alone), rel=2e-5)  # float32 sums in another order, over five updates
    assert np.load(ctx.folder / "train/valid.npy") == pytest.approx(np.load(alone.folder / "train/valid.npy"), abs=2e-3)


def test_accumulation_changes_nothing(alone, context, minilm, bbc, task):
    ctx = context(1)
    train_fully(fields(ctx, minilm, bbc, task, micro_rows=4), ctx)
    assert losses(ctx) == pytest.approx(losses(alone), rel=2e-5)  # float32 sums in another order, over five updates


def test_a_training_on_a_warm_gang_equals_one_in_a_fresh_process_bit_for_bit(context, minilm, bbc, task, tmp_path):
    with_dropout = PLAIN.model_copy(update={"dropout": None, "epochs": 0.4})
    warm = context(1)
    train_fully(fields(warm, minilm, bbc, task, with_dropout, key="first", seed=1), warm)
    train_fully(fields(warm, minilm, bbc, task, with_dropout, key="second", seed=2), warm)
    heard = []
    with Engine(Layout(), tmp_path / "fresh") as engine:
        engine.listeners.append(heard.append)
        fresh = Context(tmp_path / "fresh", "fresh", 7, engine.layout, engine, Progress(), "train")
        engine.threads = warm.engine.threads
        train_fully(fields(fresh, minilm, bbc, task, with_dropout, key="second", seed=2), fresh)
        assert same_bits(best_weights(warm, "second"), best_weights(fresh, "second"))
    assert not same_bits(best_weights(warm, "first"), best_weights(warm, "second"))
    last = read_json(fresh.folder / "second" / RESULT)["step"]
    assert [step for event in heard if event["kind"] == "step" for step, *_ in event["steps"]] == [*range(1, last + 1)]
    assert (heard[0]["kind"], heard[-1]["kind"], heard[-1]["step"]) == ("began", "valid", last), "told to the end, though the gang is gone"


@pytest.mark.parametrize(("workers", "stage"), [(1, 0), (2, 2), (2, 3)])
def test_going_on_from_a_checkpoint_equals_never_having_stopped(workers, stage, context, minilm, bbc, task):
    with_dropout = PLAIN.model_copy(update={"dropout": None})
    ctx = context(workers)
    straight = fields(ctx, minilm, bbc, task, with_dropout, key="straight", zero=stage)
    halted = straight | {"key": "halted", "folder": ctx.folder / "halted"}
    ctx.engine.perform(Train(**straight, until=5, resumable=False))
    ctx.engine.perform(Train(**halted, until=3))
    ctx.engine.perform(Train(**straight | {"key": "other", "folder": ctx.folder / "other"}, until=1))  # takes the gang's memory
    ctx.engine.perform(Train(**halted, until=5, resumable=False))
    assert losses(ctx, "halted")[-1] == losses(ctx, "straight")[-1]
    one, other = (np.load(ctx.folder / key / "valid.npy") for key in ("straight", "halted"))
    assert np.array_equal(one, other)


def test_a_killed_worker_costs_time_and_nothing_else(context, minilm, bbc, task):
    import ray

    ctx = context(1)
    whole = fields(ctx, minilm, bbc, task, PLAIN.model_copy(update={"epochs": 4.0, "validate_every": 4.0}), key="whole")
    killed = whole | {"key": "killed", "folder": ctx.folder / "killed"}
    ctx.engine.perform(Train(**whole, until=20, resumable=False))
    mailbox = ctx.engine.gangs[0].mailbox
    pid = ray.get(mailbox.workers.remote())[0]["pid"]
    seen = threading.Event()
    ctx.engine.listeners.append(lambda event: seen.set() if (event["kind"], event.get("key")) == ("step", "killed") else None)

    def kill():
        assert seen.wait(60)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    ctx.engine.perform(Train(**killed, until=20, resumable=False))
    killer.join()
    assert ray.get(mailbox.workers.remote())[0]["pid"] != pid
    assert same_bits(best_weights(ctx, "whole"), best_weights(ctx, "killed"))


def test_the_exported_model_answers_in_plain_transformers_as_it_did_in_training(context, minilm, bbc, task):
    import pyarrow.parquet as pq
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    ctx = context(1)
    model = fit(PLAIN, ctx=ctx, model=minilm, corpus=bbc, task=task)
    reloaded = AutoModelForSequenceClassification.from_pretrained(model.path).eval()
    tokenizer = AutoTokenizer.from_pretrained(model.path)
    texts = pq.read_table(bbc.split("valid")[0])["text"].to_pylist()
    with torch.no_grad():
        logits = reloaded(**tokenizer(texts, truncation=True, max_length=24, padding=True, return_tensors="pt")).logits.numpy()
    assert logits == pytest.approx(np.load(model.valid), abs=1e-4)  # batches of another length pad differently in float32
    assert reloaded.config.id2label == dict(enumerate(bbc.labels))
    assert np.array_equal(ctx.engine.predict(model, bbc.split("valid"), task=task).argmax(-1), logits.argmax(-1))


def test_lora_trains_a_few_weights_and_exports_a_merged_model(context, minilm, bbc, task):
    from safetensors.torch import load_file

    changes = {"adapter": {"use": "lora", "r": 4, "targets": ["query", "value"]}, "optimizer": {"use": "adamw", "lr": 1e-2}}
    config = TrainConfig.model_validate(PLAIN.dump() | changes)
    ctx = context(1)
    model = fit(config, ctx=ctx, model=minilm, corpus=bbc, task=task)
    saved = best_weights(ctx)
    assert any("lora" in name for name in saved)
    assert sum(w.numel() for w in saved.values()) < model.params / 20
    merged, base = load_file(model.path / "model.safetensors"), load_file(f"{minilm.folder()}/model.safetensors")
    changed = [n for n in base if f"bert.{n}" in merged and not np.array_equal(merged[f"bert.{n}"].numpy(), base[n].numpy())]
    assert changed
    assert all("query.weight" in n or "value.weight" in n for n in changed)


def test_a_diverging_training_says_so_and_the_gang_goes_on(context, minilm, bbc, task):
    from heliostat.core.errors import Diverged

    ctx = context(1)
    bursting = {"use": "sgd", "lr": 9.0, "weight_decay": 1.0}  # matrices times -8 at every step
    wild = TrainConfig.model_validate({**PLAIN.dump(), "optimizer": bursting, "clip": None})
    with pytest.raises(Diverged, match="learning rate"):
        train_fully(fields(ctx, minilm, bbc, task, wild, key="wild", total=400), ctx)
    ctx.engine.perform(Train(**fields(ctx, minilm, bbc, task, key="tame"), until=1, resumable=False))
    assert (ctx.folder / "tame" / RESULT).exists()
