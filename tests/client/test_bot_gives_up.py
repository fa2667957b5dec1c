"""What a bot does about what can never be handled, what is gone meanwhile, and a handler that ends the process."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.client.bots import at_work, bot_of, bot_on_disk, end, going
from tests.client.people import PATIENCE, hear

from mdk import Bot, Client, Context, Event, errors
from mdk.handlers import is_lasting
from mdk.testing import Clock, LocalRelay, client
from mdk.testing.clients import impatient
from mdk.testing.fixtures import MakeClient

TRIES = 3


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (errors.InvalidInput(), True),
        (errors.InvalidKey(), True),
        (errors.MessageNotFound(), True),
        (errors.KeyPackageNotFound(), True),
        (errors.NotAllowed(), True),
        (errors.NotMember(), True),
        (errors.GroupTooLarge(), True),
        (errors.MediaCorrupt(), True),
        (errors.MediaUnavailable(), False),
        (errors.MediaStale(), False),
        (errors.CommitPending(), False),
        (errors.NotConnected(), False),
        (errors.OutboxFull(), False),
        (errors.DiskFull(), False),
        (errors.Closed(), False),
        (ValueError(), False),
        (ExceptionGroup("two", [errors.InvalidInput(), errors.NotAllowed()]), True),
        (ExceptionGroup("two", [errors.InvalidInput(), errors.DiskFull()]), False),
    ],
)
def test_which_errors_waiting_does_not_mend(error: Exception, lasting: bool) -> None:
    assert is_lasting(error) is lasting


async def largest(who: Client, text: str) -> str:
    """As much of this letter as one message holds."""
    trial = await who.groups.create("trial")
    least, most = 1, 200_000
    while most - least > 1:
        middle = (least + most) // 2
        try:
            await asyncio.to_thread(who.engine.create_message, trial.id, text * middle)
            least = middle
        except errors.InvalidInput:
            most = middle
    return text * least


async def test_a_message_that_leaves_no_room_for_an_answer_stops_nothing(
    relay: LocalRelay, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody can write one."""
    alice = await make_client("alice")
    text = await largest(alice, "x")
    bot = bot_of(relay)
    told: list[tuple[str, int]] = []

    @bot.on_message
    async def echo(ctx: Context) -> None:
        await ctx.reply(ctx.text)

    @bot.on_error
    async def note(_event: Event, error: Exception, attempts: int) -> None:
        told.append((type(error).__name__, attempts))

    async with at_work(bot):
        group = await alice.groups.create("chat", [bot.client.public_key])
        await group.send(text)
        await group.send("hello")
        assert await hear(group, 1) == ["hello"]
    assert [attempts for _, attempts in told] == [1, 2, TRIES]
    assert {name for name, _ in told} <= {"InvalidInput", "GroupTooLarge"}
    assert "(attempt 3), given up" in caplog.text


async def test_somebody_on_a_relay_that_is_away_for_a_while_is_invited_when_it_is_back(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    """That another relay has nothing of theirs does not say that nobody has."""
    alice = await make_client("alice")
    async with LocalRelay() as other:
        friend = await client(other, "friend")
        bot = Bot(":memory:", allow="anyone", relays=[relay.url, other.url])
        impatient(bot.client)
        bot._first_pause = 0.01
        told: list[str] = []
        tried = asyncio.Event()

        @bot.on_message
        async def invite(ctx: Context) -> None:
            await ctx.client.groups.create("with a friend", [friend.public_key])

        @bot.on_error
        async def note(_event: Event, error: Exception, attempts: int) -> None:
            told.append(type(error).__name__)
            if attempts > TRIES:
                tried.set()

        serving = await going(bot)
        # Where alice looks; the bot is ready as soon as one has its KeyPackage.
        await relay.until(lambda it: it.count(30443) == 2, PATIENCE)
        try:
            group = await alice.groups.create("chat", [bot.client.public_key])
            await other.pause()
            await group.send("invite my friend")
            await asyncio.wait_for(tried.wait(), PATIENCE)
            await other.resume()
            assert (await friend.invites.next(PATIENCE)).group_name == "with a friend"
            assert set(told) == {"NotConnected"}
        finally:
            await end(bot, serving)
            await friend.close()


async def test_the_other_handlers_of_a_message_that_one_gives_up_get_it(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    alice = await make_client("alice")
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

    async with at_work(bot):
        group = await alice.groups.create("chat", [bot.client.public_key])
        await group.send("hello")
        assert await hear(group, 1) == ["done hello"]
    assert called == ["refused"] * TRIES + ["mended"] * (TRIES + 1)


async def test_what_is_given_up_does_not_come_again_and_what_a_kill_cut_off_does(
    relay: LocalRelay, make_client: MakeClient, tmp_path: Path
) -> None:
    user = await make_client("user")
    heard: list[str] = []
    done = asyncio.Event()

    def handling(bot: Bot) -> Bot:
        @bot.on_message
        async def handle(ctx: Context) -> None:
            heard.append(ctx.text)
            if ctx.text == "wrong":
                raise errors.InvalidInput("never")
            done.set()

        return bot

    first = handling(bot_on_disk(relay, tmp_path))
    async with at_work(first):
        group = await user.groups.create("chat", [first.client.public_key])
        await group.send("wrong")
        await group.send("right")
        await asyncio.wait_for(done.wait(), PATIENCE)
    assert heard == ["wrong"] * TRIES + ["right"]
    heard.clear()
    done.clear()
    second = handling(bot_on_disk(relay, tmp_path))
    async with at_work(second):
        await group.send("next")
        await asyncio.wait_for(done.wait(), PATIENCE)
    assert heard == ["next"]


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


async def served(bot: Bot, kind: type[BaseException]) -> BaseException | None:
    """Serve, and catch what ends it: out of a task it would end the event loop of the test, too."""
    try:
        await bot.serve()
    except kind as error:
        return error
    return None


@pytest.mark.parametrize("where", ["handler", "judge"])
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_a_handler_can_end_the_bot_and_its_message_comes_again(
    relay: LocalRelay,
    make_client: MakeClient,
    tmp_path: Path,
    where: str,
    kind: type[BaseException],
) -> None:
    lost: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, what: lost.append(what))
    user = await make_client("user")
    ending, again = bot_on_disk(relay, tmp_path), bot_on_disk(relay, tmp_path)
    started = asyncio.Event()

    @ending.on_start
    async def note(_client: Client) -> None:
        started.set()

    @ending.on_message
    async def leave(_ctx: Context) -> None:
        if where == "handler":
            raise kind(3)
        raise ValueError

    if where == "judge":

        @ending.on_error
        async def judge(_event: Event, _error: Exception, _attempts: int) -> None:
            raise kind(3)

    @again.on_message
    async def answer(ctx: Context) -> None:
        await ctx.reply(f"done {ctx.text}")

    serving = asyncio.create_task(served(ending, kind))
    await asyncio.wait_for(started.wait(), PATIENCE)
    await ending.client.ready(PATIENCE)
    group = await user.groups.create("chat", [ending.client.public_key])
    await group.send("hello")
    error = await asyncio.wait_for(serving, PATIENCE)
    assert error is not None
    assert error.args == (3,)
    assert lost == []
    # The account is closed: it can be opened.
    serving_again = await going(again)
    assert await hear(group, 1) == ["done hello"]
    await end(again, serving_again)


@pytest.mark.parametrize("where", ["timer", "start"])
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_so_can_what_no_message_calls(
    relay: LocalRelay, tmp_path: Path, where: str, kind: type[BaseException]
) -> None:
    ending, again = bot_on_disk(relay, tmp_path), bot_on_disk(relay, tmp_path)

    async def leave(_client: Client) -> None:
        raise kind(3)

    if where == "start":
        ending.on_start(leave)
    else:
        ending.every(timedelta(milliseconds=1))(leave)
    serving = asyncio.create_task(served(ending, kind))
    error = await asyncio.wait_for(serving, PATIENCE)
    assert error is not None
    assert error.args == (3,)
    await end(again, await going(again))


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
    (error,) = raised
    assert isinstance(error, errors.InvalidInput)
    assert "serve()" in str(error.hint)
    with pytest.raises(errors.InvalidInput) as caught:
        bot.run()
    assert "serve()" in str(caught.value.hint)
