"""The heartbeat of a worker: what got done is told, the wish that it leaves is heard, and a worker that is stuck writes its stacks."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import pytest
import ray

from heliostat.engine import heartbeat, notice
from heliostat.engine.group import Group
from heliostat.engine.heartbeat import Heartbeat
from heliostat.engine.pulse import OPENING_S, Pulse


@pytest.fixture(autouse=True)
def plain_answers(monkeypatch):
    """A mailbox's method answers at once; an exception as its answer is raised."""

    def get(answer, timeout=None):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(notice, "_draining", lambda: False)
    yield
    notice.forget()


@pytest.fixture
def watchdog(monkeypatch):
    """What faulthandler was asked for."""
    asked = []
    monkeypatch.setattr(heartbeat.faulthandler, "dump_traceback_later", lambda seconds, file: asked.append(seconds))
    monkeypatch.setattr(heartbeat.faulthandler, "cancel_dump_traceback_later", lambda: asked.append("off"))
    return asked


class Box:
    def __init__(self, answer=False):
        self.told, self.answer = [], answer
        self.beat = SimpleNamespace(remote=self._beat)
        self.said = []
        self.opening = SimpleNamespace(remote=lambda *told: self.said.append(told))

    def _beat(self, *told):
        self.told.append(told)
        return self.answer


def beating(box, pulse, hang_s=30.0):
    return Heartbeat(box, pulse, rank=1, life=4, hang_s=hang_s)


@pytest.mark.usefixtures("watchdog")
def test_what_got_done_is_told():
    box, pulse = Box(), Pulse()
    beats = beating(box, pulse)
    pulse.begin(6)
    pulse.mark(step=3)
    beats.beat()
    assert box.told == [(1, 4, 2, 6, 3)]
    assert not pulse.leaving


def test_a_new_order_begins_at_step_0():
    pulse = Pulse()
    pulse.begin(1)
    pulse.mark(step=9)
    pulse.begin(2)
    assert (pulse.number, pulse.step, pulse.working) == (2, 0, True)


@pytest.mark.usefixtures("watchdog")
@pytest.mark.parametrize("answer", [True, ray.exceptions.RayActorError()], ids=["told to", "nobody is there"])
def test_a_worker_whose_gang_is_closed_saves_and_leaves(answer):
    pulse = Pulse()
    beating(Box(answer), pulse).beat()
    assert pulse.leaving


@pytest.mark.usefixtures("watchdog")
def test_a_slow_cluster_is_no_reason_to_leave():
    pulse = Pulse()
    beating(Box(ray.exceptions.GetTimeoutError("slow")), pulse).beat()
    assert not pulse.leaving


def test_every_mark_of_progress_starts_the_wait_for_stacks_anew(watchdog):
    pulse = Pulse()
    beats = beating(Box(), pulse)
    beats.beat()
    assert watchdog == []  # nothing is at hand
    pulse.begin(0)
    for _ in range(3):
        beats.beat()
    assert watchdog == [30.0]
    pulse.mark()
    beats.beat()
    assert watchdog == [30.0, 30.0]
    pulse.end()
    for _ in range(2):
        beats.beat()
    assert watchdog == [30.0, 30.0, "off"]


def test_a_model_that_is_being_opened_is_no_hang_until_it_takes_too_long(watchdog, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    box, pulse = Box(), Pulse()
    beats = beating(box, pulse)

    def after(seconds):
        now[0] = 100.0 + seconds
        beats.beat()
        return box.told[-1][2]

    pulse.begin(0)
    with pulse.opens("org/large"):
        early = [after(seconds) for seconds in (1, 29, 700, OPENING_S - 1)]
        assert early == [2, 3, 4, 5]
        assert watchdog == [30.0] * 4
        assert box.said == [("org/large", 700.0), ("org/large", OPENING_S - 1)]
        assert [after(OPENING_S + seconds) for seconds in (0, 9)] == [5, 5], "now it is one"
        assert watchdog == [30.0] * 4
    assert after(OPENING_S + 10) == 6
    assert len(box.said) == 4


def test_no_stacks_are_written_where_hangs_are_not_looked_for(watchdog):
    pulse = Pulse()
    pulse.begin(0)
    beating(Box(), pulse, hang_s=None).beat()
    assert watchdog == []


@pytest.mark.usefixtures("watchdog")
def test_sigterm_is_a_notice_and_not_the_end():
    before = signal.getsignal(signal.SIGTERM)
    try:
        notice.heed()
        assert not notice.given()
        os.kill(os.getpid(), signal.SIGTERM)
        assert notice.given()
        pulse = Pulse()
        beating(Box(), pulse).beat()
        assert pulse.leaving
    finally:
        signal.signal(signal.SIGTERM, before)


def test_outside_a_gang_no_node_is_drained(monkeypatch):
    monkeypatch.undo()
    assert not notice.given()


def test_every_collective_is_a_mark_of_progress():
    group = Group()
    for number, collective in enumerate((group.barrier, lambda: group.mean(1.0)), start=1):
        collective()
        assert group.pulse.marks == number
    assert Group(rank=1) == Group(rank=1)  # what got done does not tell groups apart


def test_stacks_are_written_even_while_the_interpreter_is_held(tmp_path):
    """A regular expression that takes for ever holds the GIL: no Python thread of the process gets on."""
    code = """
        import os, re, sys, threading, time
        from heliostat.engine.heartbeat import Heartbeat
        from heliostat.engine.pulse import Pulse

        def stuck():
            re.match(r"(a+)+$", "a" * 40 + "b")

        pulse = Pulse()
        pulse.begin(0)
        Heartbeat(None, pulse, 0, 0, hang_s=1.0)._guard()
        stuck()
    """
    log = tmp_path / "log"
    with log.open("w") as stderr, subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stderr=stderr) as process:
        while "in stuck" not in log.read_text():
            assert process.poll() is None, log.read_text()
        process.kill()
    assert "Timeout" in log.read_text()
