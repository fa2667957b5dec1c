"""What a bot does about what can never be handled, what is gone meanwhile, and a handler that ends the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.client.bots import at_work, bot_of, bot_on_disk, comes_again, in_a_chat
from tests.client.people import PATIENCE, hear

from mdk import Bot, Client, Context, Event, errors
from mdk.config import TRIES_IN_VAIN as TRIES
from mdk.testing import Clock, LocalRelay
from mdk.testing.fixtures import MakeClient

# As many letters as one message holds: tests/api/test_limits.py.
LARGEST = "x" * 65_331


async def test_a_message_that_leaves_no_room_for_an_answer_stops_nothing(
    relay: LocalRelay, alice: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody can write one."""
    bot = bot_of(relay)
    told: list[tuple[str, int]] = []

    @bot.on_message
    async def echo(ctx: Context) -> None:
        await ctx.reply(ctx.text)

    @bot.on_error
    async def note(_event: Event, error: Exception, attempts: int) -> None:
        told.append((type(error).__name__, attempts))

    async with in_a_chat(bot, alice) as group:
        await group.send(LARGEST)
        await group.send("hello")
        assert await hear(group, 1) == ["hello"]
    assert [attempts for _, attempts in told] == list(range(1, TRIES + 1))
    assert {name for name, _ in told} <= {"InvalidInput", "GroupTooLarge"}
    assert f"(attempt {TRIES}), given up" in caplog.text


async def test_the_other_handlers_of_a_message_that_one_gives_up_get_it(
    relay: LocalRelay, alice: Client
) -> None:
    bot = bot_of(relay)
    called: list[str] = []

    @bot.on_message
    async def refused(_ctx: Context) -> None:
        called.append("refused")
        raise errors.NotAllowed

    @bot.on_message
    async def mended(ctx: Context) -> None:
        called.append("mended")
        if called.count("mended") <= TRIES:
            raise errors.NotConnected
        await ctx.send(f"done {ctx.text}")

    async with in_a_chat(bot, alice) as group:
        await group.send("hello")
        assert await hear(group, 1) == ["done hello"]
    assert called == ["refused"] * TRIES + ["mended"] * (TRIES + 1)


async def test_what_is_given_up_does_not_come_again(
    relay: LocalRelay, alice: Client, tmp_path: Path
) -> None:
    heard: list[str] = []
    done = asyncio.Event()
    bot = bot_on_disk(relay, tmp_path)

    @bot.on_message
    async def handle(ctx: Context) -> None:
        heard.append(ctx.text)
        if ctx.text == "wrong":
            raise errors.InvalidInput("never")
        done.set()

    async with in_a_chat(bot, alice) as group:
        await group.send("wrong")
        await group.send("right")
        await asyncio.wait_for(done.wait(), PATIENCE)
    assert heard == ["wrong"] * TRIES + ["right"]
    await group.send("next")
    await comes_again(relay, tmp_path, group, "next")


@pytest.mark.parametrize("how", ["expires", "is deleted"])
async def test_a_message_that_goes_while_it_is_handled_is_done(
    relay: LocalRelay, make_client: MakeClient, tmp_path: Path, how: str
) -> None:
    """Else every try would say that there is no such message, and what is behind it would wait for good."""
    clock = Clock(datetime.now(UTC))
    user = await make_client("user", clock=clock)
    bot = bot_on_disk(relay, tmp_path)
    bot.client._settings.clock = clock
    tried: list[str] = []
    first, gone = asyncio.Event(), asyncio.Event()

    @bot.on_message
    async def handle(ctx: Context) -> None:
        tried.append(ctx.text)
        if ctx.text == "slow":
            first.set()
            await gone.wait()
            raise errors.NotConnected
        await ctx.reply(f"done {ctx.text}")

    async with at_work(bot):
        retention = timedelta(hours=1) if how == "expires" else None
        group = await user.groups.create("chat", [bot.client.public_key], retention=retention)
        slow = (await group.send("slow")).message
        await asyncio.wait_for(first.wait(), PATIENCE)
        if how == "expires":
            clock.advance(timedelta(hours=2))
        else:
            await group.delete(slow)
            await bot.client._session.until(
                lambda mdk: mdk.message(group.id, slow.id).deleted or None, PATIENCE
            )
        gone.set()
        await group.send("behind")
        assert await hear(group, 1) == ["done behind"]
        assert tried == ["slow", "behind"]


Handler = Callable[..., object]


def raising(error: BaseException) -> Handler:
    async def handler(*_: object) -> None:
        raise error

    return handler


def forgotten(_one: object, _two: object = None, _three: object = None) -> None:
    """A handler whose author forgot `async`."""


async def served(bot: Bot) -> BaseException | None:
    """Serve, and catch what ends it: out of a task it would end the event loop of the test, too."""
    try:
        await bot.serve()
    except BaseException as error:  # noqa: BLE001
        return error
    return None


@pytest.mark.parametrize(
    ("where", "handler", "kind"),
    [
        ("on_message", raising(SystemExit(3)), SystemExit),
        ("on_message", raising(KeyboardInterrupt(3)), KeyboardInterrupt),
        (
            "on_message",
            raising(BaseExceptionGroup("several", [ValueError(), SystemExit(3)])),
            BaseExceptionGroup,
        ),
        ("on_message", forgotten, errors.InvalidInput),
        ("on_error", raising(KeyboardInterrupt(3)), KeyboardInterrupt),
        ("on_error", forgotten, errors.InvalidInput),
        ("on_start", raising(KeyboardInterrupt(3)), KeyboardInterrupt),
        ("on_start", forgotten, errors.InvalidInput),
        ("every", raising(SystemExit(3)), SystemExit),
        ("every", forgotten, errors.InvalidInput),
    ],
)
async def test_a_handler_can_end_the_bot_and_its_message_comes_again(
    relay: LocalRelay,
    alice: Client,
    tmp_path: Path,
    where: str,
    handler: Handler,
    kind: type[BaseException],
) -> None:
    lost: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, what: lost.append(what))
    bot: Any = bot_on_disk(relay, tmp_path)
    register = bot.every(timedelta(milliseconds=1)) if where == "every" else getattr(bot, where)
    register(handler)
    if where == "on_error":
        bot.on_message(raising(ValueError()))
    started, group = asyncio.Event(), None

    async def note(_client: Client) -> None:
        started.set()

    if where in ("on_message", "on_error"):
        bot.on_start(note)
    serving = asyncio.create_task(served(bot))
    if where in ("on_message", "on_error"):
        await asyncio.wait_for(started.wait(), PATIENCE)
        await bot.client.ready(PATIENCE)
        group = await alice.groups.create("chat", [bot.client.public_key])
        await group.send("hello")
    error = await asyncio.wait_for(serving, PATIENCE)
    assert isinstance(error, kind)
    if isinstance(error, errors.InvalidInput):
        assert "async def" in str(error.hint)
    assert lost == []
    if group is not None:
        await comes_again(relay, tmp_path, group, "hello")
    else:
        async with at_work(bot_on_disk(relay, tmp_path)):
            pass


async def test_run_is_for_the_main_thread_and_makes_its_loop() -> None:
    bot = Bot(":memory:", allow=[], relays=["wss://relay.example"])
    raised: list[BaseException] = []

    def elsewhere() -> None:
        try:
            bot.run()
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join, PATIENCE)
    with pytest.raises(errors.InvalidInput) as caught:
        bot.run()
    for error in (*raised, caught.value):
        assert isinstance(error, errors.InvalidInput)
        assert "serve()" in str(error.hint)
    assert len(raised) == 1
