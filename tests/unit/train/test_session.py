"""A training goes on from memory, from disk or from the start, with the same weights; its best step is exported."""

import json

import numpy as np
import pytest
import torch

from heliostat.core import seeds
from heliostat.core.errors import Diverged, UserError
from heliostat.engine import checkpoints
from heliostat.engine.models import open_model
from heliostat.engine.orders import ModelSource, Stopped
from heliostat.engine.plain import PlainEngine
from heliostat.engine.predict import batch_of
from heliostat.engine.streams import Batches, Prepared, opened, processor
from heliostat.train import session
from heliostat.train.batching import interval
from heliostat.train.config import TrainConfig
from heliostat.train.orders import Export, Train
from heliostat.train.reached import best_step
from heliostat.tune.objectives.train_seconds import TrainSeconds

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


def told(gang, kind):
    return [event for event in gang.posted if event["kind"] == kind]


def test_every_step_is_told_and_steps_before_the_validation_that_follows_them(ground, worker, tmp_path):
    gang = worker()
    turns = iter([False, True, False] * TOTAL)
    gang.due = lambda every_s: next(turns)  # two of three times come too early
    Train(**fields(ground, tmp_path, validate_every=1.0), until=TOTAL, settings={"train.batch": 6}).perform(gang)
    (began,) = told(gang, "began")
    assert (began["step"], began["total"], began["curve"], began["settings"]) == (0, TOTAL, [], {"train.batch": 6})
    assert began["train"]["batch"] == 6
    events = [event for event in gang.posted if event["kind"] != "began"]
    groups = [[step for step, *_ in event["steps"]] if event["kind"] == "step" else event["step"] for event in events]
    assert groups == [[1, 2], [3, 4], 4, [5], [6, 7, 8], 8]
    for event in told(gang, "step"):
        step, loss, lr, rows, skipped = event["steps"][-1]
        assert (step, loss, lr, rows, skipped) == (event["step"], event["loss"], event["lr"], event["rows"], 0)
    assert [event["best"]["step"] for event in told(gang, "valid")] == [4, 8]


def test_a_training_that_goes_on_from_disk_tells_where(ground, worker, tmp_path):
    Train(**fields(ground, tmp_path), until=4).perform(worker())
    gang = worker()
    Train(**fields(ground, tmp_path), until=TOTAL).perform(gang)
    (began,) = told(gang, "began")
    assert began["step"] == 4
    assert [point["step"] for point in began["curve"]] == [2, 4]
    assert [step for event in told(gang, "step") for step, *_ in event["steps"]] == [5, 6, 7, 8]


def test_the_last_steps_before_a_failure_are_told(ground, worker, tmp_path, monkeypatch):
    share = session.Session._share

    def broken(self, step):
        if step == 3:
            raise MemoryError
        return share(self, step)

    monkeypatch.setattr(session.Session, "_share", broken)
    gang = worker()
    gang.due = lambda every_s: False
    with pytest.raises(MemoryError):
        Train(**fields(ground, tmp_path, validate_every=9.0), until=TOTAL).perform(gang)
    assert told(gang, "step") == []
    gang.drop()
    assert [step for event in told(gang, "step") for step, *_ in event["steps"]] == [1, 2, 3]


def test_going_on_from_memory_is_the_same_training(ground, worker, tmp_path, uninterrupted):
    gang = worker()
    for until in (4, TOTAL):
        Train(**fields(ground, tmp_path / "parts"), until=until).perform(gang)
    assert_same(reached(tmp_path / "parts"), uninterrupted)


def test_going_on_from_disk_in_another_process_is_the_same_training(ground, worker, tmp_path, uninterrupted):
    for until in (4, TOTAL):
        Train(**fields(ground, tmp_path / "parts"), until=until).perform(worker())
    assert_same(reached(tmp_path / "parts"), uninterrupted)


@pytest.mark.parametrize("train", [
    {"regularizer": "fgm"}, {"regularizer": "r_drop"}, {"regularizer": {"use": "freelb", "steps": 2}},
    {"batch_tokens": 40}, {"curriculum": {"use": "length", "span": 3.0}}, {"curriculum": "length", "batch_tokens": 30},
    {"objective": {"use": "focal", "class_weights": "balanced"}}, {"schedule": {"use": "plateau", "patience": 1}},
    {"optimizer": {"use": "lion", "lr": 1e-3}}, {"optimizer": {"use": "adafactor", "lr": 0.1}},
])  # fmt: skip
def test_every_way_of_training_goes_on_from_disk_as_the_same_training(ground, worker, tmp_path, train):
    Train(**fields(ground, tmp_path / "whole", **train), until=TOTAL).perform(worker())
    for until in (4, TOTAL):
        Train(**fields(ground, tmp_path / "parts", **train), until=until).perform(worker())
    assert_same(reached(tmp_path / "parts"), reached(tmp_path / "whole"))


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


RATES = {"head_lr": 0.05, "layer_decay": 0.5}


def test_a_training_with_rates_of_its_own_goes_on_from_disk(ground, worker, tmp_path):
    Train(**fields(ground, tmp_path / "whole", **RATES), until=TOTAL).perform(worker())
    for until in (4, TOTAL):
        Train(**fields(ground, tmp_path / "parts", **RATES), until=until).perform(worker())
    assert_same(reached(tmp_path / "parts"), reached(tmp_path / "whole"))


def test_a_training_that_goes_on_from_another_has_rates_of_its_own(ground, worker, tmp_path):
    Train(**fields(ground, tmp_path / "parent"), until=4).perform(worker())  # one rate for all
    gang, child = worker(), fields(ground, tmp_path / "child", **RATES) | {"key": "child"}
    Train(**child, until=5, parent=(tmp_path / "parent", 4)).perform(gang)
    found = [group["lr_scale"] for group in gang.kept["session"].engine.optimizer.param_groups]
    assert found == pytest.approx([5.0, 5.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25])  # of the optimiser's 0.01


def test_a_head_learns_at_its_own_rate(ground, worker, tmp_path, uninterrupted):
    still = fields(ground, tmp_path / "still", head_lr=1e-12, optimizer={"use": "adamw", "lr": 1e-2, "weight_decay": 0.0})
    Train(**still, until=TOTAL).perform(worker())
    weights, start = reached(tmp_path / "still")[1], worker().models.fresh(still["model"], ground.labels, ground.task, 5).state_dict()
    gap = {name: float((value - start[name]).abs().max()) for name, value in weights.items()}
    assert gap["classifier.weight"] < 1e-9 < 1e-3 < gap["bert.encoder.layer.1.output.dense.weight"]
    own = fields(ground, tmp_path / "own", head_lr=1e-2)  # the optimiser's: another grouping, the same steps up to rounding
    Train(**own, until=TOTAL).perform(worker())
    assert reached(tmp_path / "own")[0]["best"]["value"] == pytest.approx(uninterrupted[0]["best"]["value"], rel=1e-4)


def test_what_is_reached_is_not_done_again(ground, worker, tmp_path):
    given = Train(**fields(ground, tmp_path), until=4).perform(worker())
    gang = worker()
    gang.models = None  # nothing may be opened
    assert Train(**fields(ground, tmp_path), until=4).perform(gang) == given
    assert gang.posted == []


def test_seconds_of_a_training_are_counted_once(ground, worker, tmp_path, monkeypatch):
    """Four validations, each as long: what is told at each is what has passed."""
    clock = iter(range(0, 10_000))
    monkeypatch.setattr(session.time, "monotonic", lambda: float(next(clock)))
    told = []
    monkeypatch.setattr(TrainSeconds, "measure", lambda self, live: told.append(live.busy_s) or 1.0)
    keep = fields(ground, tmp_path, validate_every=0.25) | {"objectives": (TrainSeconds(),), "keep_all": True}
    gang, spent = worker(), []
    for until in (4, 8):
        spent.append(Train(**keep, until=until).perform(gang)["busy_s"])
    steps = np.diff([0.0, *told])
    assert len(told) >= 4
    assert (steps > 0).all()
    assert told[-1] <= spent[-1]
    assert sum(told_here <= spent[0] for told_here in told) >= 1
    assert max(steps) < 2 * max(steps[0], steps[1]), "time that was counted before is counted again"


@pytest.mark.parametrize("train", [{"schedule": {"use": "plateau", "patience": 1, "reduce": 0.5}}, {"early_stopping": {"patience": 2}}])
def test_where_an_order_ends_changes_no_training(ground, worker, tmp_path, train):
    """A validation between those of the config counts for neither the schedule nor early stopping."""
    given = {"validate_every": 1.0, "optimizer": {"use": "adamw", "lr": 0.3}, **train}
    whole, parts = (fields(ground, tmp_path / name, **given) | {"total": 24} for name in ("whole", "parts"))
    one, gang = Train(**whole, until=24).perform(worker()), worker()
    for until in (3, 5, 9, 24):
        other = Train(**parts, until=until).perform(gang)
    config = [point["step"] for point in one["curve"]]
    assert [point["step"] for point in other["curve"] if point["step"] % 4 == 0] == config
    assert [p for p in other["curve"] if p["step"] in config] == one["curve"]
    assert len(other["curve"]) > len(config)


@pytest.mark.parametrize("until", [4, TOTAL])
def test_a_training_whose_best_step_is_broken_is_made_again(ground, worker, tmp_path, uninterrupted, until):
    Train(**fields(ground, tmp_path / "broken"), until=until).perform(worker())
    file = checkpoints.latest(tmp_path / "broken" / "best") / checkpoints.WEIGHTS
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)
    gang = worker()
    Train(**fields(ground, tmp_path / "broken"), until=TOTAL).perform(gang)
    assert_same(reached(tmp_path / "broken"), uninterrupted)
    assert told(gang, "began")[0]["step"] == 0


def test_what_was_reached_on_the_way_is_told_as_it_was_then(ground, worker, tmp_path):
    gang = worker()
    given = [Train(**fields(ground, tmp_path), until=until).perform(gang) for until in (2, 4, 6)]
    gang = worker()
    gang.models = None
    again = [Train(**fields(ground, tmp_path), until=until).perform(gang) for until in (2, 4, 6)]
    for one, other in zip(given, again, strict=True):
        assert {**one, "busy_s": 0} == {**other, "busy_s": 0}


def test_a_step_that_was_not_validated_on_the_way_is_trained_again_from_before_it(ground, worker, tmp_path, uninterrupted):
    Train(**fields(ground, tmp_path / "parts"), until=6).perform(worker())
    given = Train(**fields(ground, tmp_path / "parts"), until=3).perform(gang := worker())
    assert (given["step"], [point["step"] for point in given["curve"]]) == (3, [2, 3])
    assert told(gang, "began")[0]["step"] == 0
    Train(**fields(ground, tmp_path / "other"), until=3).perform(worker())
    assert_same(reached(tmp_path / "parts"), reached(tmp_path / "other"))


@pytest.mark.parametrize("until", [2, 4, TOTAL])
def test_what_other_settings_have_reached_is_not_taken(ground, worker, tmp_path, until):
    own, theirs = ({"settings": {"train.optimizer.lr": lr}} for lr in (1e-2, 1e-3))
    for end in (2, 4):
        Train(**fields(ground, tmp_path / "one", optimizer={"use": "adamw", "lr": 1e-3}), until=end, **theirs).perform(worker())
    assert best_step(tmp_path / "one", {}, 4) is best_step(tmp_path / "one", own["settings"], 4) is None
    assert best_step(tmp_path / "one", theirs["settings"], 4) is not None
    for folder in ("one", "other"):
        Train(**fields(ground, tmp_path / folder), until=2, **own).perform(worker())
        Train(**fields(ground, tmp_path / folder), until=until, **own).perform(worker())
    assert_same(reached(tmp_path / "one"), reached(tmp_path / "other"))
    assert len(list((tmp_path / "one" / "latest").iterdir())) == 1


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


def alike(monkeypatch, count):
    """The first `count` validations find the same answer for every row."""
    forward, seen = session.forward, []

    def answers(*args):
        seen.append(0)
        return forward(*args) * float(len(seen) > count)

    monkeypatch.setattr(session, "forward", answers)


def test_a_validation_without_a_value_is_the_worst_and_the_training_goes_on(ground, worker, tmp_path, monkeypatch):
    alike(monkeypatch, 2)
    gang, given = worker(), fields(ground, tmp_path) | {"metric": "spearman"}
    assert Train(**given, until=2).perform(gang)["best"] is None
    Train(**given, until=4).perform(worker())  # from disk
    result = Train(**given, until=TOTAL).perform(gang)
    assert [point["value"] is None for point in result["curve"]] == [True, True, False, False]
    assert result["best"]["value"] == max(point["value"] for point in result["curve"][2:])
    assert told(gang, "valid")[0]["value"] is None


@pytest.mark.parametrize("train", [{}, {"early_stopping": {"patience": 2}}])
def test_a_training_that_ends_without_a_value_says_so_and_not_that_it_diverged(ground, worker, tmp_path, monkeypatch, train):
    alike(monkeypatch, TOTAL)
    with pytest.raises(Diverged, match=f"spearman had no value at any of {2 if train else 4} validations") as caught:
        Train(**fields(ground, tmp_path, **train) | {"metric": "spearman"}, until=TOTAL).perform(worker())
    assert "not numbers" not in str(caught.value)


def test_rows_that_define_no_metric_are_told_at_the_first_validation(ground, worker, tmp_path, monkeypatch):
    monkeypatch.setattr(Prepared, "targets", lambda self, task: np.ones(len(self)))
    with pytest.raises(UserError, match=r"task.metric: pearson has no value on the 9 validation rows, whatever a model answers"):
        Train(**fields(ground, tmp_path) | {"metric": "pearson"}, until=TOTAL).perform(worker())


class ToldToLeave:
    """A worker that is told to leave while it makes the update after `step`."""

    def __init__(self, worker, step):
        self.worker, self.step = worker, step

    def __getattr__(self, name):
        return getattr(self.worker, name)

    def post(self, event):
        self.worker.group.pulse.leaving = event["step"] >= self.step


def test_a_training_that_is_told_to_leave_saves_in_the_middle_and_goes_on_from_there(ground, worker, tmp_path, uninterrupted):
    given = Train(**fields(ground, tmp_path / "parts"), until=TOTAL, resumable=False)
    with pytest.raises(Stopped, match="stopped at step 3 of 8"):
        given.perform(ToldToLeave(worker(), 2))
    assert [p.name for p in (tmp_path / "parts" / "latest").iterdir()] == ["step-00000003"]
    assert not (tmp_path / "parts" / "result.json").exists(), "an order that is not over has no result"
    gang = worker()
    given.perform(gang)
    assert gang.group.pulse.step == TOTAL
    assert told(gang, "began")[0]["step"] == 3
    assert min(event["step"] for event in told(gang, "step")) == 4
    assert_same(reached(tmp_path / "parts"), uninterrupted)


def test_an_order_that_ends_where_it_is_told_to_leave_is_simply_over(ground, worker, tmp_path):
    assert Train(**fields(ground, tmp_path), until=4).perform(ToldToLeave(worker(), 3))["step"] == 4


def test_what_goes_on_from_another_training_is_not_saved_in_the_middle(ground, worker, tmp_path):
    Train(**fields(ground, tmp_path / "parent"), until=4, keep_all=True).perform(worker())
    own = fields(ground, tmp_path / "own", optimizer={"use": "adamw", "lr": 5e-3}) | {"key": "own"}
    given = Train(**own, until=TOTAL, parent=(tmp_path / "parent", 4))
    with pytest.raises(Stopped, match="stopped at step 6"):
        given.perform(ToldToLeave(worker(), 5))
    assert not (tmp_path / "own" / "latest").exists()


def test_a_gang_does_not_go_on_from_what_another_has_since_replaced(ground, worker, tmp_path):
    """As in population training: a trial is held here at step 2, copies another one elsewhere, and comes back with its old settings."""
    Train(**fields(ground, tmp_path / "parent", optimizer={"use": "adamw", "lr": 5e-3}), until=4, keep_all=True).perform(worker())
    own, held = fields(ground, tmp_path / "own") | {"key": "own"}, worker()
    Train(**own, until=2, keep_all=True).perform(held)
    Train(**own, until=6, keep_all=True, parent=(tmp_path / "parent", 4)).perform(worker())
    copied = Train(**own, until=TOTAL, keep_all=True).perform(held)
    assert told(held, "began")[-1]["step"] == 6
    alone = fields(ground, tmp_path / "alone") | {"key": "alone"}
    assert Train(**alone, until=TOTAL, parent=(tmp_path / "parent", 4)).perform(worker())["curve"][-1] == copied["curve"][-1]


@pytest.fixture
def little_memory(ground, monkeypatch):
    """A forward pass that is differentiated holds two rows; one that is not holds four times as many."""
    logits = type(ground.task).logits
    seen = []

    def limited(self, module, batch):
        rows = len(next(iter(batch.values())))
        seen.append((torch.is_grad_enabled(), rows))
        if rows > (2 if torch.is_grad_enabled() else 8):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits(self, module, batch)

    monkeypatch.setattr(type(ground.task), "logits", limited)
    return seen


def without_dropout(ground, folder, **changes):
    return fields(ground, folder, dropout=0.0) | {"micro_rows": 6} | changes


def test_rows_that_do_not_fit_are_halved_and_the_updates_stay_the_same(ground, worker, tmp_path, request):
    Train(**without_dropout(ground, tmp_path / "whole"), until=TOTAL).perform(worker())
    seen = request.getfixturevalue("little_memory")
    order, gang = Train(**without_dropout(ground, tmp_path / "halved"), until=4), worker()
    for halved in (0, 1):
        assert order.halved == halved
        with pytest.raises(torch.OutOfMemoryError):
            order.perform(gang)
        gang.drop()
        order = order.smaller()
    assert order.perform(gang)["halved"] == 2
    seen.clear()
    later = Train(**without_dropout(ground, tmp_path / "halved"), until=TOTAL)
    later.perform(worker())  # in another process, and given as if nothing had been found out
    assert max(rows for training, rows in seen if training) == 2
    assert max(rows for training, rows in seen if not training) == 8
    one, other = reached(tmp_path / "whole"), reached(tmp_path / "halved")
    # the same sums in another order: float32 rounding over eight updates
    assert [p["loss"] for p in one[0]["curve"]] == pytest.approx([p["loss"] for p in other[0]["curve"]], rel=1e-4)
    assert all(torch.allclose(one[1][name], other[1][name], atol=1e-4) for name in one[1])


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [
        (8, [(8, 32), (4, 16), (2, 8), (1, 4), (1, 2), (1, 1)]),
        (5, [(5, 32), (3, 12), (2, 8), (1, 4), (1, 2), (1, 1)]),
        (1, [(1, 32), (1, 4), (1, 4), (1, 4), (1, 2), (1, 1)]),
    ],
)
def test_halving_ends_at_one_row_in_training_and_validation(ground, tmp_path, rows, sizes):
    order, found = Train(**fields(ground, tmp_path) | {"micro_rows": rows}, until=1), []
    while order is not None:
        found.append((order.rows_at_once(), order.rows_scored_at_once()))
        order = order.smaller()
    assert found == sizes


def test_a_group_of_fewer_workers_makes_more_passes_of_the_same_rows(ground, tmp_path):
    order = Train(**fields(ground, tmp_path, batch=24) | {"micro_rows": 3}, until=1)
    assert [order.passes(world) for world in (8, 4, 3, 1)] == [1, 2, 3, 8]
    assert order.smaller().passes(4) == 3  # two rows at once


def test_a_loss_that_is_not_a_number_names_its_rows_and_leaves_the_last_good_checkpoint(ground, worker, tmp_path, monkeypatch):
    gang = worker()
    good = Train(**fields(ground, tmp_path), until=4).perform(gang)
    kind = type(gang.kept["session"].order.train.objective)
    per_unit, passes = kind.per_unit, []

    def bad(self, units):
        passes.append(0)
        return per_unit(self, units) * (float("nan") if len(passes) == 3 else 1.0)  # two passes make an update

    monkeypatch.setattr(kind, "per_unit", bad)
    with pytest.raises(Diverged) as caught:
        Train(**fields(ground, tmp_path), until=TOTAL).perform(gang)
    order = seeds.rng(5, "order", 1).permutation(22)  # four batches of six make an epoch of 22 rows: update 6 is the second of the next
    named = ", ".join(f"train-{row}" for row in order[6:11])
    assert "the loss became nan at step 6 with learning rate 0.00" in str(caught.value)
    assert f"rows {named}." in str(caught.value)
    kept = checkpoints.latest(tmp_path / "latest")
    assert checkpoints.facts(kept)["step"] == 4
    assert json.loads((tmp_path / "result.json").read_text()) == good


@pytest.mark.parametrize("adapter", [None, {"use": "lora", "r": 2, "dropout": 0.2}, "dora", "ia3", "mixture", "prompt_tuning"])
def test_the_best_step_is_exported_as_a_plain_model(ground, worker, tmp_path, adapter):
    gang = worker()
    given = fields(ground, tmp_path / "training", adapter=adapter)
    Train(**given, until=4).perform(gang)
    facts = Export(**given, out=tmp_path / "model").perform(gang)
    again, missing = open_model(ModelSource(folder=str(tmp_path / "model")), ground.labels, ground.task)
    assert missing == []
    assert facts["params"] == sum(p.numel() for p in again.parameters())
    rows, prepared = opened(ground.valid), processor(ground.task, str(ground.model))
    saved = torch.from_numpy(np.load(tmp_path / "training" / "valid.npy"))
    with torch.no_grad():
        logits = ground.task.logits(again.eval(), batch_of(rows, range(len(rows)), ground.task, prepared, (0,)))
    # the same weights in another batch, and for adapters another order of additions: float32 rounding
    assert torch.allclose(logits, saved, atol=1e-5)


def test_an_export_is_compared_with_a_base_that_was_asked_on_a_gpu(ground, worker, tmp_path):
    gang, given, asked = worker(), fields(ground, tmp_path / "training"), []
    Train(**given, until=2).perform(gang)
    base = gang.models.opened(given["model"], ground.labels, ground.task)
    base.to = lambda device: asked.append(device) or base  # where it is cannot be had without a GPU
    Export(**given, out=tmp_path / "model").perform(gang)
    assert asked == ["cpu"]


@pytest.mark.parametrize(("every", "rows", "steps"), [(0.25, 160, 2), (0.25, 17, 1), (1.0, 161, 11), (0.001, 160, 1)])
def test_validations_come_every_so_many_steps(every, rows, steps):
    assert interval(TrainConfig(validate_every=every), Batches(np.arange(rows), 16)) == steps


def test_an_average_begins_where_a_parent_without_one_ended(ground, worker, tmp_path):
    Train(**fields(ground, tmp_path / "parent"), until=4).perform(worker())
    child = fields(ground, tmp_path / "child", ema=0.9) | {"key": "child"}
    gang = worker()
    Train(**child, until=6, parent=(tmp_path / "parent", 4)).perform(gang)
    assert gang.kept["session"].average.updates == 2
    assert json.loads((tmp_path / "child/result.json").read_text())["step"] == 6


@pytest.fixture
def overflowing(monkeypatch):
    """`overflowing(*updates)`: the gradients of an engine's updates of these numbers overflow, as with DeepSpeed in 16 bits."""

    def told(*updates):
        class Engine(PlainEngine):
            def _update(self):
                self.optimizer.overflow = self._passes // self.accumulation in updates
                return self.optimizer.zero_grad() if self.optimizer.overflow else super()._update()

        start = lambda module, optimizer, plan: Engine(module, optimizer, accumulation=plan.accumulation, clip=plan.clip)  # noqa: E731
        monkeypatch.setattr(session.zero, "start", start)

    return told


def test_an_update_that_overflowed_is_counted_and_the_schedule_waits_for_it(ground, worker, tmp_path, overflowing):
    def rates(gang):
        return [(lr, skipped) for event in told(gang, "step") for _, _, lr, _, skipped in event["steps"]]

    gang, again = worker(), worker()
    overflowing(2, 3)
    Train(**fields(ground, tmp_path), until=4).perform(gang)
    overflowing(1)
    Train(**fields(ground, tmp_path), until=TOTAL).perform(again)
    train = TrainConfig()
    made = [0, 1, 1, 1, 2, 2, 3, 4]
    assert [lr for lr, _ in rates(gang) + rates(again)] == [1e-2 * train.schedule.factor(step, TOTAL, []) for step in made]
    assert [skipped for _, skipped in rates(gang) + rates(again)] == [0, 1, 2, 2, 3, 3, 3, 3]
    assert reached(tmp_path)[0]["skipped_steps"] == 3


def test_a_training_whose_updates_overflowed_is_none(ground, worker, tmp_path, overflowing):
    overflowing(1, 2, 3, 5, 8)
    Train(**fields(ground, tmp_path), until=4).perform(worker())  # a scale may be searched for at the beginning
    with pytest.raises(Diverged, match="5 of 8 updates were not made, for their gradients overflow in fp32"):
        Train(**fields(ground, tmp_path / "whole"), until=TOTAL).perform(worker())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_layers_train_validate_go_on_and_are_exported_as_others_are(ground, worker, tmp_path, monkeypatch, precision):
    compiled, real = [], torch.nn.Module.compile

    def traced(part):
        """Traced as for a GPU, without a compiler."""
        compiled.append(part)
        real(part, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", traced)
    given = {"dropout": 0.0, "precision": precision}
    Train(**fields(ground, tmp_path / "plain", **given), until=TOTAL).perform(worker())
    assert not compiled
    for until in (TOTAL // 2, TOTAL):
        Train(**fields(ground, tmp_path / "compiled", **given), compiled=True, until=until).perform(worker())
    assert len(compiled) == 4, "two layers, opened twice"
    plain, other = reached(tmp_path / "plain"), reached(tmp_path / "compiled")
    assert [point["loss"] for point in other[0]["curve"]] == pytest.approx([point["loss"] for point in plain[0]["curve"]], rel=1e-4)
    assert plain[1].keys() == other[1].keys()
    gang = worker()
    facts = Export(**fields(ground, tmp_path / "compiled", **given), compiled=True, out=tmp_path / "model").perform(gang)
    assert facts["largest_logit_gap"] < 1e-3
