"""What becomes of a handler that raises, or ends as none should: its message is not lost, and all is told."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tests.client.bots import bot_of, bot_on_disk, comes_again, end, going, in_a_chat
from tests.client.people import PATIENCE, hear

from mdk import Bot, Client, Context, Event, errors
from mdk.testing import Chat, HandlerFailed, LocalRelay


async def test_the_log_has_name_attempt_and_traceback(
    relay: LocalRelay, alice: Client, caplog: pytest.LogCaptureFixture
) -> None:
    bot = bot_of(relay)
    tries: list[str] = []

    class Handler:
        async def __call__(self, word: str, _ctx: Context) -> None:
            if len(tries) < 2:
                tries.append(word)
                raise LookupError(word)

    bot.on_message(functools.partial(Handler(), "nothing there"))

    @bot.on_message
    async def divide(ctx: Context) -> None:
        tries.append(ctx.text)
        if len(tries) <= 4:
            print(1 // int(ctx.text))
        await ctx.send("done")

    async with in_a_chat(bot, alice) as group:
        await group.send("0")
        assert await hear(group, 1) == ["done"]
    said = [one for one in caplog.records if (one.name, one.levelno) == ("mdk.bot", logging.ERROR)]
    assert [one.getMessage() for one in said] == [
        f"the handler {name} raised {error} (attempt {n})"
        for name, error, attempts in (
            (Handler.__qualname__, "LookupError", (1, 2)),
            (divide.__qualname__, "ZeroDivisionError", (3, 4)),
        )
        for n in attempts
    ]
    for one, line, error in (
        (said[0], "raise LookupError(word)", "LookupError: "),
        (said[-1], "print(1 // int(ctx.text))", "ZeroDivisionError: "),
    ):
        text = logging.Formatter().format(one)
        assert line in text
        assert error in text
        # What is around it is no business of whoever wrote the handler.
        assert str(Path("mdk", "handlers.py")) not in text
        assert str(Path("mdk", "bot.py")) not in text


def mistaken(bot: Bot, times: int = 1000) -> tuple[str, asyncio.Event]:
    """Its handler raises so many times, then it echoes: the handler's name, and when it has raised."""
    raised = asyncio.Event()
    left = times

    @bot.on_message
    async def echo(ctx: Context) -> None:
        nonlocal left
        if left:
            left -= 1
            raised.set()
            raise ZeroDivisionError("a mistake")
        await ctx.reply(ctx.text)

    return echo.__qualname__, raised


def require_the_mistake(failed: HandlerFailed, name: str) -> None:
    assert (failed.handler, failed.attempt) == (name, 1)
    assert isinstance(failed.__cause__, ZeroDivisionError)
    assert "ZeroDivisionError" in str(failed)


async def test_a_test_that_waits_for_an_answer_gets_the_exception(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    name, raised = mistaken(bot)

    @bot.on_error
    async def give_up(*_: object) -> bool:
        return True

    async with Chat(bot, relay) as chat:
        await chat.say("hello")
        await asyncio.wait_for(raised.wait(), PATIENCE)
        with pytest.raises(HandlerFailed) as caught:
            await chat.expect("hello", timeout=0.5)
        require_the_mistake(caught.value, name)
        # It was told once, and is not told at the end.
        with pytest.raises(TimeoutError):
            await chat.expect("hello", timeout=0.05)


async def test_what_a_handler_raises_behind_its_answer_is_told_at_the_end(
    relay: LocalRelay,
) -> None:
    bot = bot_of(relay)
    answered = asyncio.Event()

    @bot.on_message
    async def echo(ctx: Context) -> None:
        await ctx.reply(ctx.text)
        await answered.wait()
        raise ZeroDivisionError("a mistake")

    async def talk() -> None:
        async with Chat(bot, relay) as chat:
            await chat.say("hello")
            await chat.expect("hello", timeout=PATIENCE)
            answered.set()

    with pytest.raises(HandlerFailed) as caught:
        await talk()
    require_the_mistake(caught.value, echo.__qualname__)


async def test_a_test_that_fails_in_a_chat_fails_with_its_own_exception(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    _, raised = mistaken(bot)

    async def talk() -> None:
        async with Chat(bot, relay) as chat:
            await chat.say("hello")
            await asyncio.wait_for(raised.wait(), PATIENCE)
            raise KeyError("of the test")

    with pytest.raises(KeyError):
        await talk()


async def test_an_answer_that_comes_all_the_same_is_an_answer(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    mistaken(bot, times=1)
    async with Chat(bot, relay) as chat:
        await chat.say("hello")
        await chat.expect("hello", timeout=PATIENCE)
        with pytest.raises(TimeoutError):
            await chat.expect(timeout=0.05)


async def test_a_bot_that_has_ended_is_not_waited_for(relay: LocalRelay) -> None:
    bot = bot_of(relay)

    @bot.on_message
    async def leave(_ctx: Context) -> None:
        bot.stop()

    async with Chat(bot, relay) as chat:
        await chat.say("go")
        with pytest.raises(errors.Closed):
            await chat.expect("gone", timeout=PATIENCE)


SECRET = "nobody else reads this"


class Panic(BaseException):
    """As other extensions raise it."""


async def panics() -> None:
    raise Panic(SECRET)


async def leaves() -> None:
    raise GeneratorExit(SECRET)


async def fails_in_a_group() -> None:
    raise BaseExceptionGroup(SECRET, [GeneratorExit()])


async def cancels_itself() -> None:
    me = asyncio.current_task()
    assert me is not None
    me.cancel(SECRET)
    await asyncio.Event().wait()


async def leaves_itself_cancelled() -> None:
    me = asyncio.current_task()
    assert me is not None
    me.cancel(SECRET)


async def awaits_a_cancelled_task() -> None:
    task = asyncio.create_task(asyncio.Event().wait())
    task.cancel(SECRET)
    await task


End = Callable[[], Awaitable[None]]
ENDINGS: dict[str, tuple[End, str]] = {
    "panics": (panics, "Panic"),
    "leaves": (leaves, "GeneratorExit"),
    "fails in a group": (fails_in_a_group, "BaseExceptionGroup"),
    "cancels itself": (cancels_itself, "CancelledError"),
    "leaves itself cancelled": (leaves_itself_cancelled, "CancelledError"),
    "returns cancelled": (leaves_itself_cancelled, "CancelledError"),
    "awaits a cancelled task": (awaits_a_cancelled_task, "CancelledError"),
}
NAMES = [name for _, name in ENDINGS.values()]


async def ends(how: str) -> None:
    """It ends in this way, at the latest when its task goes on."""
    await ENDINGS[how][0]()
    if how != "returns cancelled":
        await asyncio.sleep(0)


def said_of(words: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    """The errors in the log that begin so. What a handler put into an exception is in none of the bot's sentences."""
    assert caplog.records
    assert not any(SECRET in record.getMessage() for record in caplog.records)
    said = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert {record.name for record in said} == {"mdk.bot"}
    return [text for record in said if (text := record.getMessage()).startswith(words)]


async def test_a_handler_is_called_again(
    relay: LocalRelay, alice: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bot = bot_on_disk(relay, tmp_path)
    handled: list[str] = []
    told: list[tuple[bool, str, int]] = []

    @bot.on_message
    async def handle(ctx: Context) -> None:
        handled.append(ctx.text)
        if handled.count(ctx.text) == 1:
            await ends(ctx.text)
            if ctx.text == "returns cancelled":
                return
        await ctx.reply(f"done {ctx.text}")

    @bot.on_error
    async def note(_event: Event, error: Exception, attempts: int) -> None:
        told.append((isinstance(error, RuntimeError), type(error.__cause__).__name__, attempts))

    async with in_a_chat(bot, alice) as group:
        for how in ENDINGS:
            await group.send(how)
        assert await hear(group, len(ENDINGS)) == [f"done {how}" for how in ENDINGS]
    assert handled == [how for how in ENDINGS for _ in range(2)]
    assert told == [(True, name, 1) for name in NAMES]
    handler = f"the handler {handle.__qualname__} raised"
    assert said_of("", caplog) == [f"{handler} {name} (attempt 1)" for name in NAMES]


async def test_an_error_handler_decides_nothing_by_it(
    relay: LocalRelay, alice: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bot = bot_on_disk(relay, tmp_path)
    handled: list[str] = []

    @bot.on_message
    async def handle(ctx: Context) -> None:
        handled.append(ctx.text)
        if handled.count(ctx.text) == 1:
            raise ValueError(SECRET)
        await ctx.reply(f"done {ctx.text}")

    @bot.on_error
    async def judge(_event: Event, _error: Exception, _attempts: int) -> None:
        await ends(handled[-1])

    async with in_a_chat(bot, alice) as group:
        for how in ENDINGS:
            await group.send(how)
        assert await hear(group, len(ENDINGS)) == [f"done {how}" for how in ENDINGS]
    assert handled == [how for how in ENDINGS for _ in range(2)]
    handler = f"the error handler {judge.__qualname__} raised"
    assert said_of("the error", caplog) == [f"{handler} {name}" for name in NAMES]


async def test_a_timer_goes_on(
    relay: LocalRelay, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bot = bot_on_disk(relay, tmp_path)
    left = list(ENDINGS)
    again = asyncio.Event()

    @bot.every(timedelta(milliseconds=10))
    async def tick(one: Client) -> None:
        assert one is bot.client
        if left:
            await ends(left.pop(0))
        else:
            again.set()

    serving = await going(bot)
    await asyncio.wait({serving, asyncio.create_task(again.wait())}, return_when="FIRST_COMPLETED")
    assert again.is_set()
    await end(bot, serving)
    handler = f"the timer's handler {tick.__qualname__} raised"
    assert said_of("", caplog) == [f"{handler} {name}" for name in NAMES]


async def test_what_was_open_in_a_task_that_somebody_cancelled_comes_again(
    relay: LocalRelay, alice: Client, tmp_path: Path
) -> None:
    """The bot ends by it, rather than going on without that group; another group's message moves nothing past it."""
    begun = asyncio.Event()
    bot = bot_on_disk(relay, tmp_path)

    @bot.on_message
    async def handle(ctx: Context) -> None:
        if ctx.text == "one":
            begun.set()
            await asyncio.Event().wait()
        await ctx.reply(f"done {ctx.text}")

    serving = await going(bot)
    group = await alice.groups.create("chat", [bot.client.public_key])
    other = await alice.groups.create("other", [bot.client.public_key])
    await group.send("one")
    await asyncio.wait_for(begun.wait(), PATIENCE)
    await other.send("meanwhile")
    assert await hear(other, 1) == ["done meanwhile"]
    for task in bot._lanes.tasks:
        task.cancel()
    await group.send("two")
    with pytest.raises(errors.Closed):
        await asyncio.wait_for(serving, PATIENCE)
    await comes_again(relay, tmp_path, group, "one", "two")
