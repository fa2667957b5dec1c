"""How long handlers run, how many at once, and who is held up by one that hangs."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from tests.client.bots import at_work, bot_of, has, in_a_chat
from tests.client.people import PATIENCE, hear, until

from mdk import Bot, Client, Context, Event, Joined, errors
from mdk.runs import Run
from mdk.testing import LocalRelay

SHORT = 0.05


async def hang() -> None:
    await asyncio.Event().wait()


async def test_a_handler_over_its_time_is_cancelled_and_counts_as_a_try(
    relay: LocalRelay, alice: Client, caplog: pytest.LogCaptureFixture
) -> None:
    bot = bot_of(relay, handler_timeout=SHORT, tries=2)
    told: list[tuple[str, int, bool]] = []
    cancelled: list[str] = []

    @bot.on_message
    async def handle(ctx: Context) -> None:
        if ctx.text == "hang":
            try:
                await hang()
            except asyncio.CancelledError:
                cancelled.append(ctx.text)
                raise
        await ctx.send(f"re: {ctx.text}")

    @bot.on_error
    async def note(_event: Event, error: Exception, attempts: int, given_up: bool) -> None:
        assert isinstance(error, TimeoutError)
        told.append((str(error), attempts, given_up))

    async with in_a_chat(bot, alice) as group:
        await group.send("hang")
        await group.send("next")
        assert await hear(group, 1) == ["re: next"]
    words = "it took longer than 0.05 seconds"
    assert told == [(words, 1, False), (words, 2, True)]
    assert cancelled == ["hang", "hang"]
    # The log says where it hung.
    assert "await asyncio.Event().wait()" in caplog.text


async def test_a_timeout_of_the_handlers_own_stays_what_it_is(
    relay: LocalRelay, alice: Client
) -> None:
    bot = bot_of(relay, handler_timeout=PATIENCE, tries=1)
    told: list[str] = []

    @bot.on_message
    async def handle(ctx: Context) -> None:
        if ctx.text == "mine":
            raise TimeoutError("mine")
        await ctx.send("done")

    @bot.on_error
    async def note(_event: Event, error: Exception, _attempts: int) -> None:
        told.append(str(error))

    async with in_a_chat(bot, alice) as group:
        await group.send("mine")
        await group.send("next")
        assert await hear(group, 1) == ["done"]
    assert told == ["mine"]


async def test_a_handler_of_errors_that_hangs_is_cut_off(relay: LocalRelay, alice: Client) -> None:
    bot = bot_of(relay, handler_timeout=SHORT, tries=1)

    @bot.on_message
    async def handle(ctx: Context) -> None:
        if ctx.text == "bad":
            raise ValueError
        await ctx.send("done")

    @bot.on_error
    async def note(_event: Event, _error: Exception, _attempts: int) -> None:
        await hang()

    async with in_a_chat(bot, alice) as group:
        await group.send("bad")
        await group.send("good")
        assert await hear(group, 1) == ["done"]


async def test_a_handler_that_hangs_holds_up_its_own_group_only(
    relay: LocalRelay, alice: Client
) -> None:
    bot = bot_of(relay, handler_timeout=None, concurrency=2)
    let_go = asyncio.Event()

    @bot.on_message
    async def handle(ctx: Context) -> None:
        if ctx.text == "hang":
            await let_go.wait()
        await ctx.send(f"re: {ctx.text}")

    async with in_a_chat(bot, alice) as group:
        other = await alice.groups.create("other", [bot.client.public_key])
        await group.send("hang")
        await group.send("behind")
        await other.send("hello")
        assert await hear(other, 1) == ["re: hello"]
        let_go.set()
        assert await hear(group, 2) == ["re: hang", "re: behind"]


async def test_at_most_so_many_handlers_run_at_once(relay: LocalRelay, alice: Client) -> None:
    bot = bot_of(relay, concurrency=2)
    let_go = asyncio.Event()
    running: set[str] = set()
    most = 0

    @bot.on_message
    async def handle(ctx: Context) -> None:
        nonlocal most
        running.add(ctx.text)
        most = max(most, len(running))
        await let_go.wait()
        running.discard(ctx.text)
        await ctx.send(f"re: {ctx.text}")

    async with at_work(bot):
        names = ("one", "two", "three")
        groups = [await alice.groups.create(name, [bot.client.public_key]) for name in names]
        for group, name in zip(groups, names, strict=True):
            await group.send(name)
            await has(bot, group.id, name)
        await until(lambda: len(running) == 2 and len(bot._lanes.tasks) == 3, bot.client)
        let_go.set()
        for group, name in zip(groups, names, strict=True):
            assert await hear(group, 1) == [f"re: {name}"]
    assert most == 2


async def test_a_slow_handler_is_a_warning_once_a_run(
    relay: LocalRelay, alice: Client, caplog: pytest.LogCaptureFixture
) -> None:
    bot = bot_of(relay, slow_after=SHORT)
    warned = asyncio.Queue[str]()
    ids: list[str] = []

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "is slow" in record.getMessage():
                warned.put_nowait(record.getMessage())

    @bot.on_message
    async def slow(ctx: Context) -> None:
        ids.append(ctx.message.id)
        first = await asyncio.wait_for(warned.get(), PATIENCE)
        await ctx.send(first)

    @bot.on(Joined)
    async def waiting(_event: Joined) -> None:
        assert await asyncio.wait_for(warned.get(), PATIENCE)

    log, handler = logging.getLogger("mdk.bot"), Told()
    log.addHandler(handler)
    try:
        async with in_a_chat(bot, alice) as group:
            await group.send("one")
            await group.send("two")
            said = await hear(group, 2)
    finally:
        log.removeHandler(handler)
    assert warned.empty()
    name = slow.__qualname__
    assert said == [
        f"the handler {name} is slow: it has run for {SHORT:g} seconds (message {one[:8]}…)"
        for one in ids
    ]
    # Nothing of what was said.
    assert all(one not in caplog.text for one in ids)


async def test_who_waits_for_people_takes_no_slot_and_no_time() -> None:
    slots = asyncio.Semaphore(1)
    run = Run("name", Any, slots, SHORT, SHORT)  # type: ignore[arg-type]
    waited = asyncio.Event()

    async def work(own: Run) -> None:
        async with own.paused():
            # Somebody else gets the slot, and takes longer than this one may.
            async with slots:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(hang(), 2 * SHORT)
            waited.set()
        assert slots.locked()

    await run.take()
    await run.call(work)
    run.give_back()
    assert waited.is_set()
    assert not slots.locked()

    async def hanging(own: Run) -> None:
        async with own.paused():
            pass
        await hang()

    await run.take()
    with pytest.raises(TimeoutError):
        await run.call(hanging)
    run.give_back()
    assert not slots.locked()


async def test_who_is_cancelled_while_it_waits_for_people_gives_nothing_back_twice() -> None:
    slots = asyncio.Semaphore(1)
    run = Run("name", Any, slots, None, None)  # type: ignore[arg-type]
    begun = asyncio.Event()

    async def work(own: Run) -> None:
        async with own.paused():
            begun.set()
            await hang()

    await run.take()
    task = asyncio.create_task(run.call(work))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    run.give_back()
    assert slots._value == 1


@pytest.mark.parametrize("field", ["handler_timeout", "slow_after", "concurrency"])
def test_times_and_numbers_are_more_than_nothing(field: str) -> None:
    def bot(value: object) -> Bot:
        options: Any = {field: value}
        return Bot(":memory:", allow=[], relays=["wss://relay.example"], **options)

    for wrong in (0, -1) if field == "concurrency" else (0, -1, float("nan"), float("inf")):
        with pytest.raises(errors.InvalidInput) as raised:
            bot(wrong)
        assert raised.value.field == field
    with pytest.raises(TypeError):
        bot("5")
