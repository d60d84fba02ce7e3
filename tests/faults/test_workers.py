"""Workers of a real gang are told to leave, hang, die, run out of memory: the training ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heliostat.artifacts import Corpus
from heliostat.commands.tiny import PLAIN, THEMES, write_model
from heliostat.core import seeds
from heliostat.core.family import build
from heliostat.core.layout import Layout
from heliostat.core.manifest import read_json
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context
from heliostat.engine import checkpoints
from heliostat.engine.driver import Engine
from heliostat.engine.orders import ModelSource
from heliostat.train.config import TrainConfig
from heliostat.train.orders import Train
from heliostat.train.stage import training

pytestmark = pytest.mark.slow

HANG_S = 15.0
LABELS = tuple(THEMES)


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """Engines by number of workers, with one warm gang each on one local cluster."""
    folder = tmp_path_factory.mktemp("engines")
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch, Engine(Layout(local_cpus=4, hang_s=HANG_S), folder / "one") as one:
        patch.setenv("PYTHONPATH", path)  # workers import `faults.on_purpose`
        one.connect()
        with Engine(Layout(workers=2, hang_s=HANG_S), folder / "two") as two:
            one.threads = two.threads = lambda side_by_side=1: 1
            yield {1: one, 2: two}


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """A tiny model and a corpus whose words tell the label."""
    folder = tmp_path_factory.mktemp("ground")
    write_model(folder / "model")
    rows = {"train": 48, "valid": 12, "test": 12}
    for split, count in rows.items():
        rng = seeds.rng(1, "test", split)
        themes = [LABELS[i % 3] for i in range(count)]
        texts = [" ".join([rng.choice(THEMES[t]), *rng.choice(PLAIN, 4), rng.choice(THEMES[t])]) for t in themes]
        columns = {"id": [f"{split}-{i}" for i in range(count)], "text": texts, "label": themes, "weight": [1.0] * count}
        (folder / split).mkdir()
        pq.write_table(pa.table(columns), folder / split / "part-00000.parquet")
    corpus = Corpus(fingerprint="tiny", path=folder, labels=LABELS, rows=rows, dropped={}, read=72)
    task = build("tasks", {"use": "text_classification", "max_tokens": 16, "metric": "log_loss"})
    return {"source": ModelSource(folder=str(folder / "model")), "corpus": corpus, "task": task}


@pytest.fixture
def order(ground, engines, tmp_path):
    """`order("key", 20, workers=2, fault="hang")` is a training to step 20, validated there and nowhere before."""

    def make(key: str, until: int, *, workers: int = 1, zero: int = 0, **objective) -> Train:
        marks = tmp_path / f"{key}-marks"
        marks.mkdir(exist_ok=True)
        settings = {
            "batch": 8,
            "optimizer": {"use": "adamw", "lr": 1e-3},
            "dropout": 0.0,
            "validate_every": 1000.0,
            "objective": {"use": "faults.on_purpose", "marks": str(marks), **objective},
        }
        ctx = Context(tmp_path, "test", 5, engines[workers].layout, engines[workers], Progress(), "train")
        fields = training(TrainConfig.model_validate(settings), ctx=ctx, key=key, **ground)
        return Train(**fields | {"zero": zero, "total": until}, until=until, resumable=False)

    return make


def give(engine, order):
    """The reply of the engine's gang, failed or not."""
    return engine.muster(1)[0].perform(order)


def pids(engine):
    import ray

    return {rank: info["pid"] for rank, info in ray.get(engine.gangs[0].mailbox.workers.remote()).items()}


def marks(order):
    return sorted(p.name for p in Path(order.train.objective.marks).iterdir())


def reached(order):
    """(loss at the end, best weights)."""
    return read_json(order.folder / "result.json")["curve"][-1]["loss"], checkpoints.weights(checkpoints.latest(order.folder / "best"))


def assert_same(one, other):
    (loss, weights), (other_loss, other_weights) = reached(one), reached(other)
    assert loss == other_loss
    assert weights.keys() == other_weights.keys()
    assert all(np.array_equal(weights[name].numpy(), other_weights[name].numpy()) for name in weights)


@pytest.mark.parametrize(("workers", "zero"), [(1, 0), (2, 2)])
def test_sigterm_to_a_worker_saves_in_the_middle_and_is_not_charged(workers, zero, engines, order):
    engine = engines[workers]
    whole = order("whole", 200, workers=workers, zero=zero)
    assert give(engine, whole).error is None
    told = order("told", 200, workers=workers, zero=zero, pause_s=0.03)
    before, began = pids(engine), threading.Event()
    hear = lambda event: began.set() if (event["kind"], event.get("key")) == ("step", told.key) else None  # noqa: E731
    engine.listeners.append(hear)

    def terminate():
        assert began.wait(60)
        os.kill(before[workers - 1], signal.SIGTERM)

    killer = threading.Thread(target=terminate)
    killer.start()
    reply = give(engine, told)
    killer.join()
    engine.listeners.remove(hear)
    assert reply.error is None
    assert len(reply.notes) == 1
    assert "a worker was told to leave at step" in reply.notes[0]
    saved = checkpoints.latest(told.folder / "latest")
    assert 0 < checkpoints.facts(saved)["step"] < 200, "it went on from the start"
    assert pids(engine).keys() == before.keys()
    assert not set(pids(engine).values()) & set(before.values())
    assert_same(told, whole)


def test_a_worker_that_is_stuck_is_found_and_its_stacks_are_in_the_log(engines, order):
    """Rank 1 waits for ever outside of any collective, and rank 0 for rank 1 inside of one."""
    engine = engines[2]
    stuck = order("stuck", 6, workers=2, fault="hang", rank=1, times=1, after=2)
    reply = give(engine, stuck)
    assert reply.error is None
    assert len(reply.notes) == 1
    assert f"no progress for {HANG_S:g} s" in reply.notes[0]
    assert f"{engine.logs}/gang-0-rank-*.log" in reply.notes[0]
    stacks = [(engine.logs / f"gang-0-rank-{rank}.log").read_text().split("Timeout (")[1:] for rank in (0, 1)]
    assert any("on_purpose.py" in dump for dump in stacks[1])
    assert any("distributed_c10d.py" in dump for dump in stacks[0])
    whole = order("whole", 6, workers=2)
    assert give(engine, whole).error is None
    assert_same(stuck, whole)


def test_an_order_that_hangs_again_has_failed(engines, order):
    reply = give(engines[1], order("stuck", 6, fault="hang"))
    assert reply.reason == "hang"
    assert len(reply.notes) == 1
    assert give(engines[1], order("good", 2)).error is None


@pytest.mark.parametrize("workers", [1, 2])
def test_what_does_not_fit_is_trained_in_halves(workers, engines, order):
    engine = engines[workers]
    full, whole = order("full", 6, workers=workers, fault="memory", rows=2, rank=workers - 1), order("whole", 6, workers=workers)
    reply = give(engine, full)
    assert reply.error is None
    assert reply.value["halved"] == len(marks(full)) == len(reply.notes) == 3 - workers  # a share of 8 or 4 rows, and 2 fit
    assert all("half the rows per forward pass" in note for note in reply.notes)
    assert give(engine, whole).error is None
    (loss, weights), (other_loss, other_weights) = reached(full), reached(whole)
    assert loss == pytest.approx(other_loss, rel=1e-5)  # float32 sums in another order
    assert all(np.allclose(weights[name].numpy(), other_weights[name].numpy(), atol=1e-5) for name in weights)


def test_workers_that_die_without_a_word_are_given_half(engines, order):
    deadly = order("deadly", 4, fault="die", rows=4)
    reply = give(engines[1], deadly)
    assert reply.error is None
    assert reply.value["halved"] == 1
    assert len(marks(deadly)) == 2
    assert "got no farther than step 0 (out of memory?)" in reply.notes[1]


def test_the_same_exception_twice_is_the_end_of_an_order_and_not_of_its_gang(engines, order):
    wrong = order("wrong", 4, fault="exception")
    before = pids(engines[1])
    reply = give(engines[1], wrong)
    assert (reply.reason, reply.error) == ("exception", "KeyError: 'a fault on purpose'")
    assert len(marks(wrong)) == 2
    assert give(engines[1], order("good", 2)).error is None
    assert pids(engines[1]) == before
