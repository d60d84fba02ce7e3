"""A single training is orders of one validation interval each, so that a kill loses at most one."""

from types import SimpleNamespace

import pytest

from heliostat.core.progress import Progress
from heliostat.engine.orders import ModelSource, Reply
from heliostat.engine.streams import opened
from heliostat.train.config import TrainConfig
from heliostat.train.stage import train_fully


def context(perform):
    engine = SimpleNamespace(listeners=[], perform=perform)
    return SimpleNamespace(engine=engine, show=Progress(), name="train", folder=None)


def fields(ground, tmp_path, total, every):
    train = TrainConfig(batch=6, validate_every=every)
    own = {"task": ground.task, "key": "k", "folder": tmp_path, "model": ModelSource(folder="m"), "labels": ground.labels, "train": train}
    own |= {"train_rows": ground.train, "valid_rows": ground.valid, "seed": 1, "total": total, "metric": "accuracy"}
    return own | {"micro_rows": 6, "losses": None}


@pytest.mark.parametrize(("total", "every", "untils"), [(10, 1.0, [4, 8, 10]), (8, 1.0, [4, 8]), (3, 1.0, [3]), (2, 0.25, [1, 2])])
def test_orders_end_at_each_validation_and_at_the_end(ground, tmp_path, total, every, untils):
    given = []

    def perform(order):
        given.append(order)
        return Reply(value={"over": False, "best": {"value": order.until / 100, "step": order.until}})

    reached = train_fully(fields(ground, tmp_path, total, every), context(perform))
    assert [order.until for order in given] == untils
    assert [order.resumable for order in given] == [until < total for until in untils]  # the end needs no optimiser state
    assert reached["best"]["step"] == total


def test_its_listener_goes_with_it_even_when_it_fails(ground, tmp_path):
    def perform(order):
        raise RuntimeError("lost")

    ctx = context(perform)
    with pytest.raises(RuntimeError, match="lost"):
        train_fully(fields(ground, tmp_path, 4, 1.0), ctx)
    assert ctx.engine.listeners == []


def test_a_training_that_is_over_gets_no_further_order(ground, tmp_path):
    given = []

    def perform(order):
        given.append(order.until)
        return Reply(value={"over": len(given) == 2, "step": order.until, "best": {"value": 0.5, "step": 4}})

    assert train_fully(fields(ground, tmp_path, 16, 1.0), context(perform))["step"] == 8
    assert given == [4, 8]


def test_a_validation_without_a_value_is_told_to_the_person(ground, tmp_path):
    def perform(order):
        for key in ("k", "other"):
            for listener in ctx.engine.listeners:
                listener({"kind": "valid", "key": key, "step": order.until, "value": None if order.until == 4 else 0.5})
        return Reply(value={"over": False, "best": None if order.until == 4 else {"value": 0.5, "step": order.until}})

    ctx, said = context(perform), []
    ctx.show.message = said.append
    train_fully(fields(ground, tmp_path, 8, 1.0), ctx)
    assert said == [
        "train: accuracy has no value for the answers at step 4, which may be all alike; that counts as the worst, and the training goes on"
    ]


def test_updates_that_were_not_made_are_told_to_the_person(ground, tmp_path):
    ctx, said = (
        context(lambda order: Reply(value={"over": False, "best": None, "step": order.until, "skipped_steps": order.until // 4})),
        [],
    )
    ctx.show.message = said.append
    train_fully(fields(ground, tmp_path, 8, 1.0), ctx)
    assert said == ["train: skipped_steps 2: so many of 8 updates overflowed in fp32 and were not made"]


def test_batches_of_tokens_are_planned_as_batches_of_rows_are(ground, tmp_path):
    own, given = fields(ground, tmp_path, 30, 1.0), []
    own["train"] = TrainConfig(batch_tokens=40, validate_every=1.0)

    def perform(order):
        given.append(order.until)
        return Reply(value={"over": False, "best": None, "step": order.until})

    train_fully(own, context(perform))
    rows = opened(ground.train)
    assert given[0] >= rows.lengths_N.sum() / 40
    assert given == [*range(given[0], 30, given[0]), 30]
