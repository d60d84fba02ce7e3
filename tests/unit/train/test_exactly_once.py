"""Each row of an epoch is trained exactly once, wherever a training is killed and whoever goes on with it, at no cost but a look-up."""

import itertools
import json
import threading
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.saving import save
from tests.unit.train.test_session import ToldToLeave

from heliostat.core import seeds
from heliostat.engine import checkpoints, states, streams
from heliostat.engine.group import Group
from heliostat.engine.orders import ModelSource, Stopped
from heliostat.engine.streams import Batches, Rows
from heliostat.engine.token_batches import TokenBatches
from heliostat.train import reached, session
from heliostat.train.config import TrainConfig
from heliostat.train.orders import Export, Train

ROWS, EPOCHS, WORLDS = 43, 2, (1, 2, 4)
LENGTHS = np.random.default_rng(4).integers(1, 60, ROWS)
ONCE = Counter({(epoch, row): 1 for epoch in range(EPOCHS) for row in range(ROWS)})


def of_rows(accumulation, rank, world):
    return Batches(np.arange(ROWS), 8, accumulation, 5, rank, world)


def of_tokens(accumulation, rank, world):
    return TokenBatches(Batches(np.arange(ROWS), 1, seed=5).order, LENGTHS, 300, accumulation, rank, world)


def trained(made, first, until, world, accumulation=1):
    """(epoch, row) of each row that moves the weights in steps `first` to `until`, on workers that have just started."""
    for rank in range(world):
        batches = made(accumulation, rank, world)
        for step in range(first, until):
            yield from ((batches.epoch(step), int(row)) for micro in batches.share(step) if not micro.filler for row in micro.rows)


@pytest.mark.parametrize("made", [of_rows, of_tokens])
@pytest.mark.parametrize(("before", "after"), itertools.product(WORLDS, WORLDS))
def test_each_row_is_trained_once_wherever_the_training_is_killed(made, before, after):
    """Killed at `killed`, its weights are those of the last save, `saved`: what came between never happened."""
    steps = made(1, 0, 1).steps(EPOCHS)
    for killed in range(steps + 1):
        for every in (1, 4):
            saved = killed - killed % every
            assert Counter([*trained(made, 0, saved, before), *trained(made, saved, steps, after, accumulation=2)]) == ONCE


@pytest.mark.parametrize("made", [of_rows, of_tokens])
def test_each_row_is_trained_once_after_many_kills(made):
    rng, steps = np.random.default_rng(3), made(1, 0, 1).steps(EPOCHS)
    for _ in range(20):
        cuts = [0, *sorted(rng.integers(0, steps, 5)), steps]
        parts = itertools.pairwise(cuts)
        assert Counter(row for first, until in parts for row in trained(made, first, until, int(rng.choice(WORLDS)))) == ONCE


def fields(ground, folder, **train):
    config = {"batch": 1, "optimizer": {"use": "adamw", "lr": 1e-2}, "dropout": 0.0, "validate_every": 50, **train}
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
        "total": 40,
        "metric": "log_loss",
        "micro_rows": 1,
    }


@pytest.fixture
def touched(monkeypatch):
    """Counts rows that are read, and rows of epochs that are put in order."""
    counts = Counter()
    take, rng = Rows.take, seeds.rng

    def counted_take(self, indices):
        counts["read"] += len(indices)
        return take(self, indices)

    def counted_rng(seed, *names):
        counts["orders"] += names[:1] == ("order",)
        return rng(seed, *names)

    monkeypatch.setattr(Rows, "take", counted_take)
    monkeypatch.setattr(streams.seeds, "rng", counted_rng)
    return counts


def test_a_resume_at_the_end_of_an_epoch_costs_what_one_at_its_beginning_costs(ground, worker, tmp_path, touched):
    """22 steps are an epoch here: the training is resumed for one step after 1 (5 %) and after 20 (91 %)."""
    costs = []
    for done in (1, 20):
        given = fields(ground, tmp_path / str(done))
        Train(**given, until=done).perform(worker())
        touched.clear()
        Train(**given, until=done + 1).perform(worker())
        costs.append(dict(touched))
    assert costs[0] == costs[1] == {"read": 1 + 9, "orders": 1}  # the step's row, the validation's nine, one permutation


def final(folder):
    result = json.loads((folder / "result.json").read_text())
    del result["busy_s"]
    best = reached.best_step(folder, {}, 8)
    return result, checkpoints.weights(best), np.load(folder / "valid.npy")


def assert_whole(folder, expected):
    """The training ended as `expected`, and what lies beside its result belongs to it."""
    result, weights, logits = final(folder)
    assert result == expected[0]
    assert all(torch.equal(weights[name], expected[1][name]) for name in expected[1])
    assert np.array_equal(logits, expected[2])


def as_if_by(world, checkpoint):
    """Write a checkpoint of one worker as `world` of them would have: each element by one of them."""
    with states.opened(checkpoint) as saved:
        (file,) = checkpoints.state_files(checkpoint)
        notes = json.loads(saved_notes(file))
        parts = []
        for rank in range(world):
            own = json.loads(json.dumps(notes))
            tensors = {}
            for fact in own["pieces"]:
                piece = states.Piece.whole(fact["name"], fact["shape"]).share(rank, world)
                fact["start"] = piece.start
                for slot in ["weights", *(f"optimizer.{key}" for key in fact["slots"])]:
                    tensors[f"{slot}/{piece.name}/{piece.start}"] = saved.read(slot, piece).clone()
            parts.append((tensors, own))

    class All(Group):
        def gather(self, mine):
            files = next(checkpoint.parent.glob(".step*.tmp"))
            for rank, (tensors, own) in enumerate(parts[1:], start=1):
                save_file(tensors, files / f"states-{rank:05d}.safetensors", metadata={"notes": json.dumps(own)})
            return [[checkpoints._told(path) for path in files.iterdir()]]

    facts = checkpoints.facts(checkpoint)
    kept = {key: facts[key] for key in ("curve", "busy_s", "best", "bests", "skipped_steps")}
    save(checkpoint.parent, facts["step"], states=parts[0], facts=kept, group=All())


def saved_notes(file):
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        return opened.metadata()["notes"]


@pytest.mark.parametrize("world", [2, 3])
def test_what_several_workers_saved_goes_on_with_one_bit_for_bit(ground, worker, tmp_path, world):
    given = fields(ground, tmp_path / "whole", batch=6, validate_every=0.5)
    Train(**given, until=8).perform(worker())
    folder = tmp_path / "moved"
    Train(**given | {"folder": folder}, until=4).perform(worker())
    as_if_by(world, checkpoints.at(folder / "latest", 4))
    assert len(checkpoints.state_files(checkpoints.at(folder / "latest", 4))) == world
    Train(**given | {"folder": folder}, until=8).perform(worker())
    assert_whole(folder, final(tmp_path / "whole"))


class Killed(BaseException):
    """What no handler catches."""


WRITES = ("write", "write", "write_json", "keep_only", "keep_only")


@pytest.mark.parametrize("which", range(2 * len(WRITES)))
def test_a_kill_between_any_two_writes_changes_nothing(ground, worker, tmp_path, monkeypatch, which):
    """An order writes its best step, its state and its result, then deletes what they replace; here it dies before or after each."""
    given = fields(ground, tmp_path / "whole", batch=6, validate_every=0.5, optimizer={"use": "adamw", "lr": 2e-3})
    Train(**given, until=4).perform(worker())
    assert final(tmp_path / "whole")[0]["best"]["step"] == 4
    folder = tmp_path / "killed"
    given |= {"folder": folder}
    Train(**given, until=2).perform(worker())
    left = [which // 2]

    def dying(name, write):
        def run(*args, **kwargs):
            left[0] -= 1
            if left[0] == -1 and which % 2 == 0:
                raise Killed(name)
            result = write(*args, **kwargs)
            if left[0] == -1:
                raise Killed(name)
            return result

        return run

    with monkeypatch.context() as patch:
        patch.setattr(session.checkpoints, "write", dying("write", checkpoints.write))
        patch.setattr(reached, "write_json", dying("write_json", reached.write_json))
        patch.setattr(session.checkpoints, "keep_only", dying("keep_only", checkpoints.keep_only))
        with pytest.raises(Killed, match=WRITES[which // 2]):
            Train(**given, until=4).perform(worker())
    Train(**given, until=4).perform(worker())
    assert_whole(folder, final(tmp_path / "whole"))
    Export(**given, out=tmp_path / "model").perform(worker())


def test_what_is_written_behind_the_next_updates_is_the_state_of_before_them(ground, worker, tmp_path, monkeypatch):
    given = fields(ground, tmp_path / "whole", batch=6, validate_every=0.5, ema=0.9) | {"keep_all": True}
    patient = worker()
    for until in (2, 4):
        Train(**given, until=until).perform(patient)
    behind, write, trained = given | {"folder": tmp_path / "behind"}, checkpoints.write, threading.Event()

    def slow(folder, step, *args):
        if step == 2:
            trained.wait(20)
        return write(folder, step, *args)

    monkeypatch.setattr(session.checkpoints, "write", slow)
    monkeypatch.setattr(session.Session, "_validate", lambda self, done, own=session.Session._validate: (own(self, done), trained.set())
        if done.step == 4 else own(self, done))  # fmt: skip
    gang = worker()
    first = Train(**behind, until=2, behind=True).perform(gang)
    assert first["step"] == 2
    assert not (behind["folder"] / "result.json").exists(), "the reply came first"
    Train(**behind, until=4).perform(gang)
    for step in (2, 4):
        one, other = (checkpoints.at(folder / "latest", step) for folder in (given["folder"], behind["folder"]))
        same = [checkpoints.facts(place)["files"] for place in (one, other)]
        assert same[0] == same[1], "weights, optimiser and average, by their hashes"
    assert_whole(behind["folder"], final(given["folder"]))


def test_what_cannot_be_written_fails_the_next_order_and_costs_both(ground, worker, tmp_path, monkeypatch):
    given = fields(ground, tmp_path / "training", batch=6, validate_every=0.5)
    gang, write = worker(), checkpoints.write
    Train(**given, until=2).perform(gang)
    with monkeypatch.context() as patch:
        full = OSError(28, "No space left on device")
        patch.setattr(session.checkpoints, "write", lambda folder, step, *args: (_ for _ in ()).throw(full))
        Train(**given, until=4, behind=True).perform(gang)
        with pytest.raises(OSError, match="No space left"):
            Train(**given, until=6, behind=True).perform(gang)
    assert checkpoints.write is write
    Train(**given, until=6).perform(worker())
    straight = given | {"folder": tmp_path / "straight"}
    for until in (2, 6):
        Train(**straight, until=until).perform(worker())
    assert_whole(given["folder"], final(straight["folder"]))


def test_a_best_step_that_was_never_finished_is_not_exported(ground, worker, tmp_path):
    """A kill left a later best step behind, which the resumed training (other workers, other rounding) did not find to be the best."""
    given = fields(ground, tmp_path / "training", batch=6, validate_every=0.5)
    Train(**given, until=4).perform(worker())
    best = reached.best_step(given["folder"], {}, 8)
    wrong = {name: torch.zeros_like(value) for name, value in checkpoints.weights(best).items()}
    save(given["folder"] / "best", 99, weights=wrong, facts={}, group=Group())
    assert reached.best_step(given["folder"], {}, 8) == best
    Export(**given, out=tmp_path / "model").perform(worker())
    Train(**given, until=6).perform(worker())
    assert not checkpoints.at(given["folder"] / "best", 99).exists()


def test_an_order_that_is_stopped_in_the_middle_leaves_the_result_before_it_whole(ground, worker, tmp_path):
    given = fields(ground, tmp_path / "training", batch=6, validate_every=0.5, optimizer={"use": "adamw", "lr": 2e-3})
    Train(**given, until=2).perform(worker())
    before = final(given["folder"])
    with pytest.raises(Stopped, match="stopped at step 5"):
        Train(**given, until=8).perform(ToldToLeave(worker(), 4))
    assert [path.name for path in sorted((given["folder"] / "best").iterdir())] == ["step-00000002", "step-00000004"]
    assert_whole(given["folder"], before)
    Train(**given, until=8).perform(worker())
    assert len(list((given["folder"] / "best").iterdir())) == 1


def test_a_state_whose_best_step_is_gone_is_not_gone_on_with(ground, worker, tmp_path):
    import shutil

    given = fields(ground, tmp_path / "whole", batch=6, validate_every=0.5)
    Train(**given, until=6).perform(worker())
    folder = tmp_path / "poor"
    Train(**given | {"folder": folder}, until=4).perform(worker())
    shutil.rmtree(folder / "best")
    Train(**given | {"folder": folder}, until=6).perform(worker())
    assert_whole(folder, final(tmp_path / "whole"))


def test_one_that_goes_on_from_anothers_state_keeps_its_own_settings(ground, worker, tmp_path):
    parent = fields(ground, tmp_path / "parent", optimizer={"use": "adamw", "lr": 1e-2, "weight_decay": 0.5, "beta2": 0.9})
    Train(**parent, until=2).perform(worker())
    gang = worker()
    child = fields(ground, tmp_path / "child", optimizer={"use": "adamw", "lr": 1e-3, "weight_decay": 0.1})
    Train(**child | {"key": "child"}, until=3, parent=(tmp_path / "parent", 2)).perform(gang)
    settings = gang.kept["session"].engine.optimizer.param_groups
    assert {group["weight_decay"] for group in settings} == {0.1, 0.0}
    assert {group["betas"] for group in settings} == {(0.9, 0.999)}
    assert {float(state["step"]) for state in gang.kept["session"].engine.optimizer.state.values()} == {3.0}
