"""What is said of a handler that raises: in the log, and in the test of a bot."""

from __future__ import annotations

import asyncio
import functools
import logging
from pathlib import Path

import pytest
from tests.client.bots import bot_of, in_a_chat
from tests.client.people import PATIENCE, hear

from mdk import Bot, Client, Context, errors
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
