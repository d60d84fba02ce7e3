"""The mailbox, without Ray: its coroutines on one event loop."""

import asyncio

import pytest

from heliostat.engine import mailbox
from heliostat.engine.mailbox import Mailbox
from heliostat.engine.orders import Reply


def run(story):
    """Run the coroutine function `story(box)` on a new mailbox; whatever waits too long fails."""

    async def all_of_it():
        return await asyncio.wait_for(story(Mailbox()), timeout=5)

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
        await box.answer(0, Reply(error="late", reason="lost"))
        assert (await giving).value == {"first": True}
        await box.answer(77, Reply())  # nobody asked; nothing happens

    run(story)


def test_after_a_restart_the_order_is_handed_out_again():
    async def story(box):
        await box.hello(0, {"pid": 1})
        giving = asyncio.create_task(box.submit("a"))
        await settle()
        assert await box.take(0, -1) == (0, "a")
        await box.hello(0, {"pid": 2})
        assert await box.take(0, -1) == (0, "a")
        assert not giving.done()
        await box.answer(0, Reply(value={"ok": True}))
        assert (await giving).error is None
        assert (await box.workers())[0] == {"pid": 2}

    run(story)


def test_an_order_that_kills_its_workers_is_given_up_and_the_next_one_is_not_charged():
    async def story(box):
        giving = [asyncio.create_task(box.submit(order)) for order in ("deadly", "harmless")]
        await settle()
        handed = 0
        while not giving[0].done():
            await box.hello(0, {})
            await settle()
            if not giving[0].done():
                assert await box.take(0, -1) == (0, "deadly")
                handed += 1
        assert handed == mailbox.MAX_DELIVERIES
        reply = await giving[0]
        assert reply.reason == "lost"
        assert f"{mailbox.MAX_DELIVERIES} times" in reply.error
        assert await box.take(0, -1) == (1, "harmless")
        assert not giving[1].done()

    run(story)


def test_only_the_first_rank_counts_a_restart():
    async def story(box):
        giving = asyncio.create_task(box.submit("a"))
        await settle()
        for _ in range(10):
            await box.hello(1, {})
        await settle()
        assert not giving.done()

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
        assert await asyncio.gather(*taking) == [(-1, None), (-1, None)]
        assert {((await g).reason, (await g).error) for g in giving} == {("closed", "the gang was closed")}
        assert (await box.submit("c")).reason == "closed"
        assert await box.take(0, -1) == (-1, None)

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
