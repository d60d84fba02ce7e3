"""What gangs post comes to the listeners once and in order, whatever happens to other gangs."""

from types import SimpleNamespace

import pytest
import ray

from heliostat.engine import driver
from heliostat.engine.channel import Channel
from heliostat.engine.group import Group
from heliostat.engine.worker import Worker


class Answer:
    """Stands for the reference to a mailbox's answer."""

    def __init__(self, box):
        self.box = box


class Box:
    """A mailbox that answers at once, late, or not at all any more."""

    def __init__(self, *events, late=False, gone=False):
        self.events, self.late, self.gone = list(events), late, gone
        self.drain = SimpleNamespace(remote=self._drain)

    def _drain(self):
        answer = Answer(self)
        answer.events, self.events = self.events, []
        return answer


@pytest.fixture
def channel(monkeypatch):
    """(a channel, what it told); `ray.wait` gives the answers of boxes that are not late."""

    def wait(answers, *, num_returns, timeout):
        assert num_returns == len(answers)
        ready = [answer for answer in answers if not answer.box.late]
        return ready, [answer for answer in answers if answer.box.late]

    def get(answer):
        if answer.box.gone:
            raise ray.exceptions.RayActorError
        return answer.events

    monkeypatch.setattr(ray, "wait", wait)
    monkeypatch.setattr(ray, "get", get)
    told = []
    return Channel(list, told.append), told


def gang(name, box):
    return SimpleNamespace(name=name, mailbox=box)


def test_events_come_in_the_order_of_their_gang(channel):
    taking, told = channel
    one, other = gang("one", Box(1, 2)), gang("other", Box("a"))
    taking.take(one, other)
    one.mailbox.events += [3]
    taking.take(one, other)
    assert [event for event in told if isinstance(event, int)] == [1, 2, 3]
    assert [event for event in told if isinstance(event, str)] == ["a"]


def test_a_late_answer_is_taken_the_next_time_and_holds_up_nobody(channel):
    taking, told = channel
    late, other = gang("late", Box(1, 2, late=True)), gang("other", Box("a"))
    taking.take(late, other)
    assert told == ["a"]
    late.mailbox.events, other.mailbox.events = [3], ["b"]
    taking.take(late, other)
    assert told == ["a", "b"]
    late.mailbox.late = False
    taking.take(late, other)
    taking.take(late, other)
    assert told == ["a", "b", 1, 2, 3]


def test_a_gang_whose_mailbox_is_gone_costs_its_own_events_alone(channel):
    taking, told = channel
    lost = gang("lost", Box(1, gone=True))
    taking.take(lost, gang("other", Box("a")))
    assert told == ["a"]
    lost.mailbox = None
    taking.take(lost)


def test_the_last_words_of_a_gang_are_heard_even_behind_a_late_answer(channel):
    taking, told = channel
    leaving = gang("leaving", Box(1, late=True))
    taking.take(leaving)
    leaving.mailbox.late, leaving.mailbox.events = False, [2, 3]
    taking.leave(leaving)
    assert told == [1, 2, 3]


def test_a_cluster_that_is_gone_ends_the_taking(channel, monkeypatch):
    def gone(*args, **kwargs):
        raise ray.exceptions.RaySystemError("gone")

    monkeypatch.setattr(ray, "wait", gone)
    taking, told = channel
    taking.take(gang("one", Box(1)))
    assert told == []


def test_an_engine_that_closes_hears_every_gang_to_the_end(channel, monkeypatch, tmp_path):
    """The last validation of a run is posted just before its last reply."""
    closed = []

    class Gang:
        name, mailbox = "gang-0", Box({"kind": "valid", "step": 9})

        def dismiss(self):
            self.mailbox.events.append({"kind": "valid", "step": 10})

        def close(self, wait_s, *, leaving):
            leaving(self)
            closed.append(self.name)

    engine = driver.Engine(driver.Layout(), tmp_path)
    heard = []
    engine.listeners.append(heard.append)
    engine.gangs.append(Gang())
    engine.close()
    assert [event["step"] for event in heard] == [9, 10]
    assert closed == ["gang-0"]


def test_a_listener_that_fails_is_told_of_once_and_costs_nobody_else_an_event(tmp_path):
    said, heard = [], []

    def fails(event):
        raise KeyError(event["step"])

    engine = driver.Engine(driver.Layout(), tmp_path, SimpleNamespace(message=said.append))
    engine.listeners += [fails, heard.append]
    for event in ({"kind": "step", "step": 5}, {"kind": "step", "step": 5}):
        engine.tell(event)
    assert [event["step"] for event in heard] == [5, 5]
    assert len(said) == 1
    assert said[0].endswith("fails at step events: KeyError: 5")


@pytest.mark.parametrize(("rank", "posted"), [(0, ["a", "b"]), (1, [])])
def test_a_worker_of_rank_0_posts_and_says_when_it_may_again(rank, posted):
    box = []
    mailbox = SimpleNamespace(post=SimpleNamespace(remote=lambda event: box.append(event["kind"])))
    worker = Worker(Group(rank), mailbox, "gang-0")
    for kind in ("a", "b"):
        worker.post({"kind": kind})
    assert box == posted
    assert worker.due(0.0)
    assert worker.due(3600.0) == (rank != 0), "a rank that never posts keeps nothing"
