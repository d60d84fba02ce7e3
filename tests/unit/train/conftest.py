"""A plain-torch engine, workers that meet in threads, and a tiny prepared corpus with its model."""

import threading
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from heliostat.commands.tiny import PLAIN, THEMES, write_model
from heliostat.core import seeds
from heliostat.engine import streams
from heliostat.engine.group import Group
from heliostat.tasks.text_classification import TextClassification

LABELS = tuple(THEMES)


class PlainEngine:
    """What the loop needs of DeepSpeed: losses are divided by the accumulation, gradients averaged over the workers."""

    def __init__(self, module, optimizer, accumulation=1, group=None):
        self.module, self.optimizer, self.accumulation, self.group = module, optimizer, accumulation, group
        self.passes, self.updates = 0, 0

    def __call__(self, *args, **kwargs):
        return self.module(*args, **kwargs)

    @property
    def training(self):
        return self.module.training

    def train(self, mode=True):
        self.module.train(mode)

    def eval(self):
        self.module.eval()

    def backward(self, loss):
        (loss / self.accumulation).backward()

    def step(self):
        self.passes += 1
        if self.passes % self.accumulation:
            return
        for parameter in self.module.parameters():
            if self.group is not None and parameter.requires_grad:
                parameter.grad = torch.stack(self.group.exchange(parameter.grad)).mean(0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.updates += 1

    def destroy(self):
        self.module = None


class Meeting:
    """Where the threads that play workers exchange values, in rank order."""

    def __init__(self, world):
        self.world, self.table = world, [None] * world
        self.barrier = threading.Barrier(world, timeout=20)

    def exchange(self, rank, value):
        self.table[rank] = value
        self.barrier.wait()
        everyone = list(self.table)
        self.barrier.wait()
        return everyone


class Attendee:
    """The group as one of these workers sees it."""

    device = "cpu"

    def __init__(self, meeting, rank):
        self.meeting, self.rank, self.world = meeting, rank, meeting.world

    def exchange(self, value):
        return self.meeting.exchange(self.rank, value)

    def seed(self, value):
        torch.manual_seed(value)

    def mean(self, value):
        return torch.stack(self.exchange(value)).mean(0)


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Tiny models are fastest on one thread, and more only wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def plain_engine():
    return PlainEngine


@pytest.fixture
def in_parallel():
    """`in_parallel(world, work)` gives [work(group) for each rank], the ranks running side by side; an exception is a result."""

    def run(world, work):
        meeting, results = Meeting(world), [None] * world

        def one(rank):
            try:
                results[rank] = work(Attendee(meeting, rank))
            except Exception as error:  # noqa: BLE001  whatever it is, the test shall see it
                results[rank] = error

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(world)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        return results

    return run


@pytest.fixture(scope="package")
def ground(tmp_path_factory):
    """`model`: a folder; `task`; `labels`; `train` and `valid`: prepared rows; `few_train` and `few_valid`: such as use a few words."""
    folder = tmp_path_factory.mktemp("ground")
    write_model(folder / "model")
    task = TextClassification(max_tokens=16)

    def prepared(name, rows, words=None):
        rng = seeds.rng(1, "test", name)
        themes = [LABELS[i % 3] for i in range(rows)]
        texts = [
            " ".join([rng.choice(THEMES[t][:words]), *rng.choice(PLAIN[:words], rng.integers(2, 6)), rng.choice(THEMES[t][:words])])
            for t in themes
        ]
        weights = pa.array(rng.uniform(0.5, 2.0, rows).astype(np.float32))
        file = folder / f"{name}.parquet"
        pq.write_table(pa.table({"id": [f"{name}-{i}" for i in range(rows)], "text": texts, "label": themes, "weight": weights}), file)
        function = streams.Tokenise(str(folder / "model"), task, LABELS)
        return streams.prepare(folder / "rows", [file], function, identity=name, map_pieces=lambda pieces, work: map(work, pieces))

    rows = {"train": prepared("train", 22), "valid": prepared("valid", 9)}
    few = {"few_train": prepared("few_train", 22, 3), "few_valid": prepared("few_valid", 9, 4)}
    return SimpleNamespace(model=folder / "model", task=task, labels=LABELS, **rows, **few)


@pytest.fixture
def worker():
    """`worker()` is a gang's only rank, just started."""
    from heliostat.engine.models import Store

    class Worker:
        def __init__(self):
            self.group, self.models, self.kept, self.posted = Group(), Store(), {}, []

        def post(self, event):
            self.posted.append(event)

        def due(self, every_s):
            return True

        def ask_ahead(self):
            """There is no other order."""

        def drop(self):
            for thing in self.kept.values():
                thing.close()
            self.kept.clear()

    return Worker
