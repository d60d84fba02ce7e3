"""The pool of a sweep: orders go to free gangs, a lost gang costs a job nothing, the pool follows the cluster."""

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import ray

from heliostat.core.errors import UserError
from heliostat.engine import trials
from heliostat.engine.orders import Reply
from heliostat.tune.schedulers.base import Job


@dataclass(eq=False)
class Reference:
    reply: Any


class Gang:
    """Answers at once, unless it is told to be lost."""

    def __init__(self, name, fate=()):
        self.name, self.holds, self.fate, self.orders = name, None, deque(fate), []

    def up(self):
        return Reference(None)

    def order(self, order, name=None):
        self.orders.append(order)
        return Reference(self.fate[0] if self.fate else Reply(value={"order": order}))

    def withdraw(self, name):
        self.orders.pop()
        return True


class Engine:
    """Gangs by name; `rooms` is how many fit at each look."""

    def __init__(self, gangs, rooms=(2,)):
        self.waiting, self.gangs, self.rooms, self.released, self.lost = deque(gangs), [], deque(rooms), [], []

    def room(self):
        return self.rooms.popleft() if len(self.rooms) > 1 else self.rooms[0]

    def stranded(self):
        lost, self.lost = self.lost, []
        return lost

    def muster(self, count):
        while len(self.gangs) < count and self.waiting:
            self.gangs.append(self.waiting.popleft())
        return self.gangs[:count]

    def release(self, gang):
        if gang in self.gangs:
            self.gangs.remove(gang)
            self.released.append(gang.name)


class Jobs:
    """A list of jobs as decisions; None waits until nothing is out."""

    def __init__(self, jobs):
        self.waiting, self.out = deque(jobs), 0

    def next(self):
        if self.waiting and self.waiting[0] is None and not self.out:
            self.waiting.popleft()
        if not self.waiting or self.waiting[0] is None:
            return None
        self.out += 1
        return self.waiting.popleft()

    def requeue(self, job):
        self.out -= 1
        self.waiting.append(job)

    @property
    def done(self):
        return not self.waiting and not self.out


@pytest.fixture(autouse=True)
def plain_references(monkeypatch):
    """References hold their reply; one comes in at a time."""

    def wait(references, num_returns, timeout):
        """Gangs come up before anything is done; then work ends in the order it began."""
        ready = min(references, key=lambda r: r.reply is not None)
        return [ready], [r for r in references if r is not ready]

    monkeypatch.setattr(ray, "wait", wait)

    def get(reference):
        if isinstance(reference.reply, Exception):
            raise reference.reply
        return reference.reply

    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(trials, "LOOK_EVERY_S", 0.0)


def sweep(jobs, engine, ahead=None, **changes):
    decisions, told = Jobs(jobs), []

    def record(job, reply):
        decisions.out -= 1
        told.append((job, reply))

    trials.Sweep(decisions, engine, **{"most": 2, "order_for": lambda job: job.trial, "record": record, **changes}).run(ahead)
    return told


def test_every_job_is_handed_out_once_and_recorded():
    told = sweep([Job(n, 0) for n in range(7)], Engine([Gang("a"), Gang("b")]))
    assert sorted(job.trial for job, _ in told) == list(range(7))
    assert all(reply.value == {"order": job.trial} for job, reply in told)


def test_an_order_that_cannot_be_made_is_a_failure_of_its_trial_alone():
    def order_for(job):
        if job.trial == 2:
            raise UserError("task.max_tokens: 8 is too few")
        if job.trial == 4:
            raise ValueError("shape")
        return job.trial

    a, b = Gang("a"), Gang("b")
    told = dict(sweep([Job(n, 0) for n in range(6)], Engine([a, b]), order_for=order_for))
    assert sorted(a.orders + b.orders) == [0, 1, 3, 5]
    assert told[Job(2, 0)] == Reply(error="task.max_tokens: 8 is too few", reason="request")
    assert (told[Job(4, 0)].error, told[Job(4, 0)].reason) == ("ValueError: shape", "exception")
    assert len(told) == 6


def test_what_takes_long_about_the_first_order_is_done_while_the_gangs_come_up():
    done, a = [], Gang("a")
    a.up = lambda: done.append("up") or Reference(None)
    told = sweep([Job(n, 0) for n in range(4)], Engine([a], rooms=[1]), ahead=lambda job: done.append(job.trial))
    assert done == ["up", 0]  # it was asked to come up, and is waited for afterwards
    assert sorted(job.trial for job, _ in told) == sorted(a.orders) == [0, 1, 2, 3]


def test_a_first_order_that_cannot_be_made_is_a_failure_of_its_trial_alone():
    def ahead(job):
        raise UserError("corpus: no row is left")

    told = dict(sweep([Job(n, 0) for n in range(3)], Engine([Gang("a")]), ahead=ahead))
    assert told[Job(0, 0)] == Reply(error="corpus: no row is left", reason="request")
    assert [told[Job(n, 0)].error for n in (1, 2)] == [None, None]


def test_a_gang_that_is_let_go_while_an_order_is_made_is_given_none():
    """Preparing rows may need the CPUs that gangs have taken."""
    a, b = Gang("a"), Gang("b")
    engine = Engine([a, b], rooms=[1])
    made = []

    def order_for(job):
        if not made:
            engine.release(a)
        made.append(job.trial)
        return job.trial

    told = sweep([Job(n, 0) for n in range(3)], engine, order_for=order_for)
    assert sorted(job.trial for job, _ in told) == sorted(b.orders) == [0, 1, 2]
    assert a.orders == []


def test_a_gang_that_is_let_go_while_it_comes_up_is_given_none():
    a, b = Gang("a"), Gang("b")
    engine = Engine([a, b], rooms=[1])
    told = sweep([Job(n, 0) for n in range(3)], engine, ahead=lambda job: engine.release(a))
    assert len(told) == len(b.orders) == 3
    assert a.orders == []


def test_a_trial_goes_back_to_the_gang_that_holds_it():
    a, b = Gang("a"), Gang("b")
    sweep([Job(0, 0), Job(1, 0), None, Job(1, 1), Job(0, 1)], Engine([a, b]))
    assert (a.orders, b.orders) == ([0, 0], [1, 1])


CLOSED = Reply(error="the gang was closed", reason="closed")
DEAD = ray.exceptions.RayActorError()


@pytest.mark.parametrize("fate", [CLOSED, DEAD], ids=["closed", "dead"])
def test_a_lost_gang_is_replaced_and_its_job_runs_again(fate):
    engine = Engine([Gang("a", [fate]), Gang("b"), Gang("c")])
    told = sweep([Job(n, 0) for n in range(4)], engine)
    assert engine.released == ["a"]
    assert sorted(job.trial for job, reply in told if reply.error is None) == [0, 1, 2, 3]


def test_a_job_that_loses_one_gang_after_the_other_has_failed():
    engine = Engine([Gang(str(i), [CLOSED]) for i in range(3)] + [Gang("last")], rooms=(1,))
    told = sweep([Job(0, 0), Job(1, 0)], engine)
    assert {job.trial: reply.error for job, reply in told}.keys() == {0, 1}
    assert len(engine.released) == 3


def test_gangs_are_added_when_the_cluster_grows_and_let_go_when_it_shrinks():
    a, b = Gang("a"), Gang("b")
    engine = Engine([a, b], rooms=(1, 1, 2, 2, 2, 1, 1, 1, 1))
    told = sweep([Job(n, 0) for n in range(12)], engine)
    assert len(told) == 12
    assert b.orders
    assert engine.released == ["a"] or engine.released == ["b"]


def test_a_gang_too_many_goes_after_its_job_though_every_gang_is_busy():
    """Nodes that went may have held none of the gangs: all of them are busy, and each has a job ahead."""
    a, b = Gang("a"), Gang("b")
    engine = Engine([a, b])
    decisions, told, gangs = Jobs([Job(n, 0) for n in range(20)]), [], []

    def record(job, reply):
        decisions.out -= 1
        told.append(job.trial)
        gangs.append(len(engine.gangs))
        if len(told) == 3:
            engine.rooms = deque([1])

    trials.Sweep(decisions, engine, most=2, order_for=lambda job: job.trial, record=record).run()
    assert sorted(told) == list(range(20))
    assert gangs[:3] == [2, 2, 2]
    assert gangs[4:] == [1] * 16, "its next end was to be its last"
    assert len(a.orders) + len(b.orders) == 20


def test_a_gang_that_was_to_go_stays_when_nodes_come_back_before_its_job_ends(monkeypatch):
    a, b = Gang("a"), Gang("b")
    engine = Engine([a, b], rooms=[2] * 6 + [1, 2])
    wait, looks = ray.wait, []

    def patient(references, **given):
        looks.append(len(engine.rooms))
        return ([], references) if len(engine.rooms) == 1 and looks.count(1) == 1 else wait(references, **given)

    monkeypatch.setattr(ray, "wait", patient)
    told = sweep([Job(n, 0) for n in range(20)], engine)
    assert sorted(job.trial for job, _ in told) == list(range(20))
    assert looks.count(1) > 1
    assert engine.released == []


def test_what_waits_behind_a_job_is_taken_back_at_a_stop(monkeypatch):
    """A budget ends while a job runs; the one ahead would begin after it."""
    a, looks, wait = Gang("a"), [], ray.wait

    def patient(references, **given):
        looks.append(len(a.orders))
        return ([], references) if len(looks) in (4, 5) else wait(references, **given)

    monkeypatch.setattr(ray, "wait", patient)
    decisions, told = Jobs([Job(n, 0) for n in range(9)]), []

    def record(job, reply):
        decisions.out -= 1
        told.append(job.trial)

    given = {"most": 1, "order_for": lambda job: job.trial, "record": record, "stop": lambda: len(looks) >= 4}
    trials.Sweep(decisions, Engine([a], rooms=[1]), **given).run()
    assert told == a.orders == [0, 1, 2]
    assert sorted(job.trial for job in decisions.waiting) == list(range(3, 9))


def test_a_healthy_gang_stays_when_another_one_loses_its_node(monkeypatch):
    """The healthy one's job began first, and ends before the cluster is looked at again."""
    gangs = [Gang("a"), Gang("b")]
    engine, wait, given_to, looks = Engine(gangs), ray.wait, {}, []

    def noted(gang, order, *given):
        reference = order(*given)
        given_to[id(reference)] = (gang, reference)
        return reference

    def losing(references, **given):
        looks.append(len(references))
        if len(looks) == 6:
            lost = next(gang for gang in gangs if gang is not given_to[id(references[0])][0])
            engine.rooms, engine.lost = deque([1]), [lost]
            for reference in references:
                reference.reply = CLOSED if given_to[id(reference)][0] is lost else reference.reply
            return [], references
        return wait(references, **given)

    def stranded():
        found, engine.lost = engine.lost, []
        if found:
            monkeypatch.setattr(trials, "LOOK_EVERY_S", 0.3)
        return found

    for gang in gangs:
        gang.order = partial(noted, gang, gang.order)
    monkeypatch.setattr(ray, "wait", losing)
    monkeypatch.setattr(engine, "stranded", stranded)
    told = sweep([Job(n, 0) for n in range(12)], engine)
    assert sorted(job.trial for job, _ in told) == list(range(12))
    assert len(engine.released) == 1


def test_nothing_is_handed_out_after_a_stop():
    asked = []
    told = sweep([Job(n, 0) for n in range(9)], Engine([Gang("a"), Gang("b")]), stop=lambda: bool(asked.append(0)) or len(asked) > 4)
    assert 0 < len(told) < 9


def test_no_job_waits_for_a_gang_that_does_not_come_up(monkeypatch):
    """On a cluster that others use too, a gang may never get its resources."""
    up = Gang("up")
    stuck = Gang("stuck")
    never = Reference("never")
    stuck.up = lambda: never
    wait = ray.wait
    monkeypatch.setattr(ray, "wait", lambda references, **given: wait([r for r in references if r is not never], **given))
    told = sweep([Job(n, 0) for n in range(5)], Engine([stuck, up]))
    assert len(told) == 5
    assert stuck.orders == []


def test_independent_orders_are_answered_in_their_order():
    replies = trials.perform(["a", "b", "c"], Engine([Gang("x"), Gang("y")]), most=2)
    assert [reply.value for reply in replies] == [{"order": "a"}, {"order": "b"}, {"order": "c"}]


def test_a_busy_gang_has_one_order_ahead_and_a_free_one_takes_it_over():
    a, b = Gang("a"), Gang("b")
    most = []
    decisions = Jobs([Job(n, 0) for n in range(5)])

    def record(job, reply):
        decisions.out -= 1
        most.append(decisions.out)

    trials.Sweep(decisions, Engine([a, b]), most=2, order_for=lambda job: job.trial, record=record).run()
    assert max(most) == 3  # two at work and two ahead, one of which has just ended
    assert sorted(a.orders + b.orders) == list(range(5))
