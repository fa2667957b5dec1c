"""What is said of a handler that raises: in the log, and in the test of a bot."""

from __future__ import annotations

import asyncio
import functools
import logging
from datetime import timedelta
from pathlib import Path

import pytest
from tests.client.bots import at_work, bot_of
from tests.client.people import PATIENCE, hear

from mdk import Client, Context, Event, errors
from mdk.testing import Chat, HandlerFailed, LocalRelay
from mdk.testing.fixtures import MakeClient


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What bots logged as errors."""
    return [one for one in caplog.records if one.name == "mdk.bot" and one.levelno == logging.ERROR]


async def test_the_log_has_name_attempt_and_traceback(
    relay: LocalRelay, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    alice = await make_client("alice")
    bot = bot_of(relay)
    tries: list[str] = []

    @bot.on_message
    async def divide(ctx: Context) -> None:
        tries.append(ctx.text)
        if len(tries) <= 2:
            print(1 // int(ctx.text))
        await ctx.send("done")

    async with at_work(bot):
        group = await alice.groups.create("chat", [bot.client.public_key])
        await group.send("0")
        assert await hear(group, 1) == ["done"]
    name = divide.__qualname__
    said = failures(caplog)
    assert [one.getMessage() for one in said] == [
        f"the handler {name} raised ZeroDivisionError (attempt {n})" for n in (1, 2)
    ]
    for one in said:
        text = logging.Formatter().format(one)
        assert "print(1 // int(ctx.text))" in text
        assert "ZeroDivisionError: " in text
        # What is around it is no business of whoever wrote the handler.
        assert str(Path("mdk", "handlers.py")) not in text
        assert str(Path("mdk", "bot.py")) not in text


async def test_handlers_of_errors_and_of_time_are_named_too(
    relay: LocalRelay, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    alice = await make_client("alice")
    bot = bot_of(relay)
    ticked = asyncio.Event()

    class Handler:
        async def __call__(self, word: str, _ctx: Context) -> None:
            raise LookupError(word)

    bot.on_message(functools.partial(Handler(), "nothing there"))

    @bot.on_error
    async def judge(_event: Event, _error: Exception, attempts: int) -> bool:
        if attempts == 1:
            raise KeyError("judge")
        return True

    @bot.every(timedelta(milliseconds=10))
    async def tick(_client: Client) -> None:
        if not ticked.is_set():
            ticked.set()
            raise OSError("tick")

    @bot.command("then")
    async def then(ctx: Context) -> None:
        await ctx.send("then")

    async with at_work(bot):
        group = await alice.groups.create("chat", [bot.client.public_key])
        await group.send("hello")
        await group.send("/then")
        assert await hear(group, 1) == ["then"]
        await asyncio.wait_for(ticked.wait(), PATIENCE)
    said = sorted(one.getMessage() for one in failures(caplog))
    assert said == [
        f"the error handler {judge.__qualname__} raised KeyError",
        f"the handler {Handler.__qualname__} raised LookupError (attempt 1)",
        f"the handler {Handler.__qualname__} raised LookupError (attempt 2)",
        f"the timer's handler {tick.__qualname__} raised OSError",
    ]
    assert all("Traceback" in logging.Formatter().format(one) for one in failures(caplog))


async def test_a_test_that_waits_for_an_answer_gets_the_exception(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    raised = asyncio.Event()

    @bot.on_message
    async def echo(ctx: Context) -> None:
        if ctx.text == "hello":
            raised.set()
            raise ZeroDivisionError("a mistake")
        await ctx.reply(ctx.text)

    @bot.on_error
    async def give_up(*_: object) -> bool:
        return True

    async with Chat(bot, relay) as chat:
        await chat.say("hello")
        await asyncio.wait_for(raised.wait(), PATIENCE)
        with pytest.raises(HandlerFailed) as caught:
            await chat.expect("hello", timeout=0.5)
        assert (caught.value.handler, caught.value.attempt) == (echo.__qualname__, 1)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert "ZeroDivisionError" in str(caught.value)
        # It was told once.
        with pytest.raises(TimeoutError):
            await chat.expect("hello", timeout=0.05)


async def test_who_leaves_a_chat_without_waiting_hears_of_the_exception(relay: LocalRelay) -> None:
    """What was said is handled before the chat ends; what was told already is not told again."""
    bot = bot_of(relay)

    @bot.on_message
    async def echo(_ctx: Context) -> None:
        raise ZeroDivisionError("a mistake")

    with pytest.raises(HandlerFailed) as caught:
        async with Chat(bot, relay) as chat:
            await chat.say("hello")
    assert (caught.value.handler, caught.value.attempt) == (echo.__qualname__, 1)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


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
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_a_test_that_fails_in_a_chat_fails_with_its_own_exception(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    raised = asyncio.Event()

    @bot.on_message
    async def echo(_ctx: Context) -> None:
        raised.set()
        raise ZeroDivisionError("a mistake")

    async def talk() -> None:
        async with Chat(bot, relay) as chat:
            await chat.say("hello")
            await asyncio.wait_for(raised.wait(), PATIENCE)
            raise KeyError("of the test")

    with pytest.raises(KeyError):
        await talk()


async def test_an_answer_that_comes_all_the_same_is_an_answer(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    tries: list[str] = []

    @bot.on_message
    async def echo(ctx: Context) -> None:
        tries.append(ctx.text)
        if len(tries) == 1:
            raise ZeroDivisionError(ctx.text)
        await ctx.reply(ctx.text)

    async with Chat(bot, relay) as chat:
        await chat.say("hello")
        await chat.expect("hello", timeout=PATIENCE)
        assert tries == ["hello", "hello"]
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
