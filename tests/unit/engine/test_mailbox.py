"""The mailbox, without Ray: its coroutines on one event loop."""

import asyncio
import threading
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from heliostat.engine import failures, mailbox
from heliostat.engine.mailbox import CLOSED, DUMP_S, LEAVE, MAX_FALLS, About, Mailbox
from heliostat.engine.orders import Reply

LOST = Reply(error="SIGKILL", reason="lost")
HANG_S = 60.0


@dataclass(frozen=True)
class Work:
    """An order of some size."""

    rows: int = 1

    def smaller(self):
        return Work(self.rows // 2) if self.rows > 1 else None


def run(story, about=None):
    """Run the coroutine function `story(box)` on a new mailbox; whatever waits too long fails."""

    async def all_of_it():
        box = Mailbox(about)
        box.killed = []
        box.kill, box.nodes = box.killed.append, lambda: {"a"}
        return await asyncio.wait_for(story(box), timeout=5)

    return asyncio.run(all_of_it())


async def settle():
    """Let every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_an_order_finds_a_waiting_worker_and_its_reply_finds_who_gave_it():
    async def story(box):
        taking = asyncio.create_task(box.take(0, -1))
        await settle()
        giving = asyncio.create_task(box.submit("train"))
        number, order = await taking
        assert (number, order) == (0, "train")
        await box.answer(number, Reply(value={"step": 4}))
        assert (await giving).value == {"step": 4}

    run(story)


def test_every_rank_takes_every_order_oldest_first():
    async def story(box):
        giving = [asyncio.create_task(box.submit(order)) for order in ("a", "b")]
        await settle()
        for rank in (0, 1):
            assert await box.take(rank, -1) == (0, "a")
            assert await box.take(rank, 0) == (1, "b")
        for number in (0, 1):
            await box.answer(number, Reply(value={"n": number}))
        assert [(await g).value["n"] for g in giving] == [0, 1]

    run(story)


def test_a_worker_waits_while_there_is_nothing_new():
    async def story(box):
        giving = asyncio.create_task(box.submit("a"))
        await settle()
        taking = asyncio.create_task(box.take(0, 0))
        await settle()
        assert not taking.done()
        await box.answer(0, Reply())
        await giving
        asyncio.create_task(box.submit("b"))  # noqa: RUF006  nobody waits for its reply
        assert await taking == (1, "b")

    run(story)


def test_the_first_answer_counts():
    async def story(box):
        giving = asyncio.create_task(box.submit("a"))
        await settle()
        await box.answer(0, Reply(value={"first": True}))
        await box.answer(0, Reply(error="late", reason="exception"))
        assert (await giving).value == {"first": True}
        await box.answer(77, Reply())  # nobody asked; nothing happens

    run(story)


async def given(box, *orders):
    """Tasks that wait for the replies of orders, all of which the only worker of a group has taken."""
    giving = [asyncio.create_task(box.submit(order)) for order in orders]
    await settle()
    life = await box.hello(0, {}, "actor-0")
    for number in range(len(orders)):
        assert (await box.take(0, number - 1, life))[0] == number
    return giving


async def taken_again(box, after=-1):
    """What the worker of a new group takes: (life, number, order)."""
    life = await box.hello(0, {}, "actor-1")
    return life, *await box.take(0, after, life)


def test_after_a_fall_the_order_is_given_again():
    async def story(box):
        (giving,) = await given(box, Work())
        assert await box.fell(LOST) is None
        life, number, order = await taken_again(box)
        assert order == Work()
        assert not giving.done()
        await box.answer(number, Reply(value={"ok": True}), life)
        reply = await giving
        assert reply.error is None
        assert "SIGKILL" in reply.notes[0]
        assert [event["text"] for event in await box.drain()] == [f"gang: {note}" for note in reply.notes]

    run(story)


def test_an_order_that_kills_its_workers_is_given_up_and_the_next_one_is_not_charged():
    async def story(box):
        deadly, harmless = await given(box, Work(), Work(2))
        await box.fell(LOST)
        life, number, order = await taken_again(box)
        assert order == Work(2)  # it was taken ahead, and comes first now
        await box.answer(number, Reply(), life)
        assert (await harmless).notes == ()
        for _ in range(failures.MAX_TRIES - 1):
            assert not deadly.done()
            assert (await box.take(0, number, life))[1] == Work()
            await box.fell(LOST)
            life = await box.hello(0, {})
        reply = await deadly
        assert reply.reason == "lost"
        assert f"{failures.MAX_TRIES} times" in reply.error

    run(story)


def test_a_worker_that_was_told_to_leave_costs_its_order_nothing():
    async def story(box):
        (giving,) = await given(box, Work())
        number, life = 0, 0
        for _ in range(5 * failures.MAX_TRIES):
            asking = asyncio.create_task(box.take(1, number, life))
            await box.answer(number, Reply(error="stopped at step 3", reason="preempted", step=3), life, leaving=True)
            assert await asking == (LEAVE, None)  # the whole group goes
            assert await box.fell(Reply(reason="preempted", error="left")) is None
            life, number, order = await taken_again(box)
            assert order == Work()
        await box.answer(number, Reply(), life)
        assert (await giving).error is None

    run(story)


def test_workers_that_wait_leave_when_one_of_them_is_told_to():
    async def story(box):
        life = await box.hello(0, {"world": 2})
        await box.hello(1, {"world": 2})
        asking = [asyncio.create_task(box.take(rank, -1, life)) for rank in (0, 1)]
        await settle()
        await box.leave(life)
        assert await asyncio.gather(*asking) == [(LEAVE, None)] * 2
        await box.leave(life)  # said twice
        assert (await box.hello(0, {"world": 2})) == life + 1

    run(story)


def test_what_does_not_fit_is_given_again_in_half_until_there_is_nothing_to_halve():
    async def story(box):
        (giving,) = await given(box, Work(4))
        number, sizes = 0, [4]
        while not giving.done():
            await box.answer(number, Reply(error="OutOfMemoryError", reason="memory", seconds=1.0))
            await settle()
            if not giving.done():
                number, order = await box.take(0, number)  # the same worker goes on
                sizes.append(order.rows)
        assert sizes == [4, 2, 1]
        reply = await giving
        assert reply.reason == "memory"
        assert "one row per forward pass" in reply.error
        assert reply.seconds == 3.0
        assert len(reply.notes) == 2

    run(story)


def test_workers_that_die_twice_at_one_place_are_given_half():
    async def story(box):
        await given(box, Work(4))
        await box.beat(0, 0, 1, 0, 7)
        await box.fell(LOST)
        life, number, order = await taken_again(box)
        assert order == Work(4)
        await box.beat(0, life, 1, number, 6)
        await box.fell(LOST)
        assert (await taken_again(box))[2] == Work(2)

    run(story)


def test_the_same_exception_twice_is_not_tried_a_third_time():
    async def story(box):
        (giving,) = await given(box, Work())
        bug = Reply(error="KeyError: 'x'", reason="exception", mark="here")
        await box.answer(0, bug)
        number, _ = await box.take(0, 0)
        await box.answer(number, bug)
        reply = await giving
        assert (reply.error, reply.reason) == ("KeyError: 'x'", "exception")

    run(story)


def test_what_an_older_group_says_of_a_failure_is_not_heard():
    async def story(box):
        (giving,) = await given(box, Work())
        await box.fell(LOST)
        life, number, _ = await taken_again(box)
        for old in (0, number):
            await box.answer(old, Reply(error="late", reason="request"), life - 1)
        assert await box.take(0, -1, life - 1) == (LEAVE, None)
        assert await box.beat(0, life - 1, 9, number, 9)
        await settle()
        assert not giving.done()

    run(story)


def test_a_group_that_does_not_get_on_is_killed_and_the_second_time_its_order_is_given_up():
    async def story(box):
        (giving,) = await given(box, Work())
        began = box.moved
        await box.look(began + HANG_S)
        assert box.killed == []  # its stacks are being written
        await box.look(began + HANG_S + DUMP_S + 1)
        assert box.killed == ["actor-0"]
        await box.look(began + 9 * HANG_S)  # nobody is at work
        life, number, _ = await taken_again(box)
        await box.beat(0, life, 5, number, 3)
        await box.look(box.moved + HANG_S + DUMP_S + 1)
        assert box.killed == ["actor-0", "actor-1"]
        reply = await giving
        assert reply.reason == "hang"
        assert "logs/gang-rank-*.log" in reply.error

    run(story, About(hang_s=HANG_S))


def test_progress_of_any_worker_keeps_a_group_and_a_heartbeat_alone_does_not():
    async def story(box):
        await given(box, Work())
        box.moved -= 1000.0
        await box.beat(1, 0, 4, 0, 2)
        moved = box.moved
        assert moved > asyncio.get_running_loop().time() - 100
        box.moved = 0.0
        await box.beat(1, 0, 4, 0, 2)
        assert box.moved == 0.0

    run(story, About(hang_s=HANG_S))


def test_a_model_that_is_long_being_opened_is_told_each_minute_by_whoever_says_so_first(monkeypatch):
    async def story(box):
        now = [5.0]
        monkeypatch.setattr(mailbox.time, "monotonic", lambda: now[0])
        for now[0], seconds in ((5.0, 31.0), (5.5, 31.2), (64.9, 90.0), (65.0, 91.0)):
            await box.opening("org/large", seconds)
        monkeypatch.undo()
        told = [event["text"] for event in await box.drain()]
        assert told == [f"gang: the model 'org/large' is being downloaded or opened, for {seconds} s so far" for seconds in (31, 91)]

    run(story, About())


def test_a_group_that_falls_again_and_again_without_work_ends_the_gang():
    async def story(box):
        for _ in range(MAX_FALLS - 1):
            await box.hello(0, {})
            assert await box.fell(LOST) is None
        assert "times in a row (SIGKILL)" in await box.fell(LOST)
        assert (await box.submit(Work())).reason == "closed"

    run(story)


def test_a_narrow_gang_grows_between_orders_when_a_node_has_come():
    async def story(box):
        (giving,) = await given(box, Work())
        await box.look(box.moved)
        assert not box.growing
        box.nodes = lambda: {"a", "b"}
        await box.look(box.moved)
        assert await box.take(1, -1) == (0, Work())  # the order at hand is finished first, by every worker
        await box.answer(0, Reply())
        assert (await giving).error is None
        asyncio.create_task(box.submit(Work(2)))  # noqa: RUF006  nobody waits for its reply
        await settle()
        assert await box.take(0, 0) == (LEAVE, None)
        await box.fell(Reply(reason="preempted", error="left"))
        life, _, order = await taken_again(box)
        assert order == Work(2)
        await box.look(box.moved)
        assert not box.growing  # that node is known now
        assert life == 1

    run(story, About(most=2))


def test_a_gang_that_came_up_narrow_grows_once_when_there_is_room_after_all():
    async def story(box):
        box.free = lambda: [{"CPU": 1.0}]
        (giving,) = await given(box, Work())
        await box.look(box.moved)
        assert not box.growing  # one CPU stays free for data tasks
        box.free = lambda: [{"CPU": 1.0}, {"CPU": 1.0}]
        await box.look(box.moved)
        assert box.growing
        assert "there is room" in (await box.drain())[-1]["text"]
        await box.answer(0, Reply())
        await giving
        asyncio.create_task(box.submit(Work(2)))  # noqa: RUF006  nobody waits for its reply
        await settle()
        assert await box.take(0, 0) == (LEAVE, None)
        await box.fell(Reply(reason="preempted", error="left"))
        await taken_again(box)
        await box.look(box.moved)
        assert not box.growing  # it came back as narrow as before
        box.free = lambda: [{"CPU": 1.0}]
        await box.look(box.moved)
        box.free = lambda: [{"CPU": 2.0}]
        await box.look(box.moved)
        assert box.growing  # that room had gone, and has come again
        box.growing = False
        box.nodes = lambda: {"a", "b"}
        await box.look(box.moved)
        assert box.growing

    run(story, About(most=2, needs=(("CPU", 1.0), ("GPU", 0.0))))


def test_a_gang_is_up_when_all_of_its_group_is():
    async def story(box):
        waiting = asyncio.create_task(box.up())
        await box.hello(0, {"world": 2})
        await settle()
        assert not waiting.done()
        await box.hello(1, {"world": 2})
        await waiting

    run(story)


def test_an_order_is_withdrawn_only_before_a_worker_has_it():
    async def story(box):
        giving = [asyncio.create_task(box.submit(order, name)) for order, name in (("a", "x"), ("b", "y"))]
        await settle()
        assert await box.take(0, -1) == (0, "a")
        assert not await box.withdraw("x")
        assert await box.withdraw("y")
        assert not await box.withdraw("y")
        assert (await giving[1]).error == "the order was withdrawn"
        await box.answer(0, Reply(value={"n": 1}))
        assert (await giving[0]).value == {"n": 1}

    run(story)


def test_closing_lets_everyone_go():
    async def story(box):
        giving = [asyncio.create_task(box.submit(order)) for order in ("a", "b")]
        await settle()
        taking = [asyncio.create_task(box.take(rank, 1)) for rank in (0, 1)]
        await settle()
        await box.close("the gang was closed")
        assert await asyncio.gather(*taking) == [(CLOSED, None)] * 2
        assert {((await g).reason, (await g).error) for g in giving} == {("closed", "the gang was closed")}
        assert (await box.submit("c")).reason == "closed"
        assert await box.take(0, -1) == (CLOSED, None)
        assert await box.beat(0, 0, 1, 1, 1)  # what is being trained is saved

    run(story)


def test_when_what_holds_the_workers_ends_whoever_waits_is_told_why(monkeypatch):
    monkeypatch.setattr(mailbox.ray, "get_runtime_context", lambda: SimpleNamespace(current_actor="itself"))

    async def story(box):
        giving, ending = asyncio.create_task(box.submit("train")), threading.Event()

        def work(handle):
            assert ending.wait(5)
            return f"{handle} has no workers"

        holding = asyncio.create_task(box.hold(work))
        await settle()
        assert box.closed is None
        ending.set()
        assert await giving == Reply(error="itself has no workers", reason="closed")
        await holding
        assert await box.take(0, -1) == (CLOSED, None)

    run(story)


def test_an_order_given_while_it_closes_is_answered():
    """The order waits for the lock that closing holds before it."""

    async def story(box):
        await box.arrived.acquire()
        closing = asyncio.create_task(box.close("gone"))
        await settle()
        giving = asyncio.create_task(box.submit("a"))
        await settle()
        box.arrived.release()
        assert (await giving).error == "gone"
        await closing

    run(story)


def test_events_come_once_and_the_oldest_go_when_nobody_reads(monkeypatch):
    monkeypatch.setattr(mailbox, "MAX_EVENTS", 3)

    async def story(box):
        for step in range(5):
            await box.post({"step": step})
        assert [event["step"] for event in await box.drain()] == [2, 3, 4]
        assert await box.drain() == []
        await box.post({"step": 5})
        assert await box.drain() == [{"step": 5}]

    run(story)


@pytest.mark.parametrize("orders", [1, 5])
def test_numbers_are_never_used_twice(orders):
    async def story(box):
        numbers = []
        for order in range(orders):
            giving = asyncio.create_task(box.submit(order))
            number, _ = await box.take(0, numbers[-1] if numbers else -1)
            numbers.append(number)
            await box.answer(number, Reply())
            await giving
        assert numbers == list(range(orders))

    run(story)
