"""A worker between its orders, with a mailbox that is not one: what it answers, when it leaves."""

import os
from types import SimpleNamespace

import pytest
import ray
import torch

from heliostat.core.errors import Diverged, UserError
from heliostat.engine import failures, notice, worker
from heliostat.engine.failures import Left
from heliostat.engine.group import Group
from heliostat.engine.mailbox import CLOSED, LEAVE
from heliostat.engine.orders import ModelSource, Reply, Stopped
from heliostat.engine.restarts import Restarts
from heliostat.engine.worker import Worker


class Work:
    """An order that does as it is told."""

    threads = 1

    def __init__(self, does=None):
        self.does = does

    def perform(self, worker):
        worker.kept["training"] = SimpleNamespace(close=lambda: None)
        worker.group.pulse.mark(step=5)
        if isinstance(self.does, Exception):
            raise self.does
        return {"by": worker.group.rank}


class Box:
    """Gives what it holds, keeps what it is told."""

    def __init__(self, *orders):
        self.orders, self.answers, self.left = list(orders), [], []
        self.take = SimpleNamespace(remote=lambda rank, after, life: self.orders.pop(0))
        self.answer = SimpleNamespace(remote=lambda *told, leaving=False: self.answers.append((*told, leaving)))
        self.leave = SimpleNamespace(remote=self.left.append)


@pytest.fixture(autouse=True)
def plain_references(monkeypatch):
    monkeypatch.setattr(ray, "get", lambda reference, timeout=None: reference)
    monkeypatch.setattr(ray, "wait", lambda references, timeout: (references, []))
    monkeypatch.setattr(notice, "_draining", lambda: False)
    yield
    notice.forget()


def one_of(box, rank=0, world=1):
    made = Worker(Group(rank, world), box, "gang-0")
    made.life = 3
    return made


def test_an_order_is_performed_and_answered_by_the_first_rank():
    for rank in (0, 1):
        box = Box((7, Work()))
        a_worker = one_of(box, rank, world=2)
        reply = a_worker.perform(a_worker.take())
        a_worker.answer(reply)
        assert reply.value == {"by": rank}
        assert box.answers == ([(7, reply, 3, False)] if rank == 0 else [])
        assert "training" in a_worker.kept


@pytest.mark.parametrize(
    ("error", "reason", "leaves_alone", "leaves_in_company"),
    [
        (UserError("no"), "request", False, False),
        (Diverged("nan", 3, 0.1), "diverged", False, False),
        (KeyError("x"), "exception", False, True),
        (MemoryError(), "memory", False, True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "exception", True, True),
        (Stopped("stopped at step 5"), "preempted", True, True),
    ],
)
def test_a_failure_is_answered_by_any_rank_with_its_reason(error, reason, leaves_alone, leaves_in_company):
    for world, leaves in ((1, leaves_alone), (2, leaves_in_company)):
        box = Box((7, Work(error)))
        a_worker = one_of(box, rank=world - 1, world=world)
        reply = a_worker.perform(a_worker.take())
        a_worker.answer(reply)
        assert (reply.reason, reply.step) == (reason, 5)
        assert box.answers == [(7, reply, 3, leaves)]
        assert a_worker.kept == {}, "what a failure left is not to be gone on with"


def test_a_failure_that_another_worker_caused_is_left_to_that_one():
    box = Box((7, Work(RuntimeError("[gloo] Connection closed by peer"))))
    a_worker = one_of(box, world=2)
    reply = a_worker.perform(a_worker.take())
    a_worker.answer(reply)
    assert reply.reason == "lost"
    assert box.answers == []


def test_a_worker_goes_when_it_is_told_to():
    assert one_of(Box((CLOSED, None))).take() is None
    with pytest.raises(Left) as caught:
        one_of(Box((LEAVE, None))).take()
    assert failures.fallen({0: caught.value}).reason == "preempted"


def test_a_worker_that_waits_says_once_that_it_has_to_leave(monkeypatch):
    waits = [([], []), ([], []), ([], []), ([0], [])]
    monkeypatch.setattr(ray, "wait", lambda references, timeout: waits.pop(0))
    notice._hear(15, None)
    box = Box((LEAVE, None))
    with pytest.raises(Left):
        one_of(box).take()
    assert box.left == [3]
    assert waits == []


def test_memory_is_given_back_once_nothing_refers_to_it(monkeypatch):
    """The exception's frames hold what the failed try had allocated."""
    import weakref

    class Tensor:
        pass

    found = []

    class Hungry(Work):
        def perform(self, worker):
            held = Tensor()
            found.append(weakref.ref(held))
            raise MemoryError

    monkeypatch.setattr(worker, "_give_memory_back", lambda: found.append(found[0]()))
    a_worker = one_of(Box((0, Hungry())))
    a_worker.perform(a_worker.take())
    assert found[1] is None


def test_ray_train_starts_a_group_again_unless_the_mailbox_says_why_not():
    told = []

    def fell(reply):
        told.append(reply)
        return None if len(told) == 1 else "its workers fell too often"

    restarts = Restarts(SimpleNamespace(fell=SimpleNamespace(remote=fell)))
    restarts.after_exception(None, {0: Left("lost", "gloo")})
    with pytest.raises(Exception, match="fell too often"):
        restarts.after_exception(None, {0: Left("lost", "gloo")})
    assert told == [Reply(reason="lost", error="rank 0: Left: gloo")] * 2


def test_the_heartbeat_knows_of_a_model_that_is_being_opened(monkeypatch):
    made, seen = one_of(Box()), []

    def slowly(source, labels, task):
        seen.append(made.group.pulse.opening)
        return torch.nn.Linear(1, 1), []

    monkeypatch.setattr("heliostat.engine.models.open_model", slowly)
    monkeypatch.setattr("heliostat.engine.models.processor", lambda *given: seen.append(made.group.pulse.opening))
    for _ in range(2):
        made.models.opened(ModelSource(folder="org/large"), None, SimpleNamespace(name=lambda: "a task", model_reads=()))
    (model, _), of_its_tokenizer = seen  # the second time it is open
    assert of_its_tokenizer[0] == model
    assert made.group.pulse.opening is None
    assert (model, made.group.pulse.marks) == ("org/large", 1)


def test_deepspeed_computes_on_the_device_that_ray_gave_the_worker(monkeypatch):
    """Its place among the workers of a machine may be another number: Ray orders the GPUs that they see as words, 10 before 2."""
    chosen = []
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setattr("ray.train.torch.get_device", lambda: torch.device("cuda:3"))
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert worker._device(gpu=True) == "cuda:3"
    assert chosen == [torch.device("cuda:3")]
    assert os.environ["LOCAL_RANK"] == "3"
    assert worker._device(gpu=False) == "cpu"
    assert os.environ["LOCAL_RANK"] == "3", "nothing to choose"
