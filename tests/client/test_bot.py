"""Bots: who may talk to them, commands, and that no message is skipped."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from tests.client.bots import at_work, bot_of, going
from tests.client.people import PATIENCE, hear

from mdk import Bot, Client, Context, Event, Joined, Keys, MessageReceived, errors
from mdk.testing import Chat, LocalRelay, client
from mdk.testing.fixtures import MakeClient

PROGRAMS = Path(__file__).parent / "programs"
signals = pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals to other programs")


async def test_commands_and_messages(relay: LocalRelay) -> None:
    bot = bot_of(relay, prefix="!")

    @bot.command("add")
    async def add(ctx: Context) -> None:
        await ctx.reply(str(sum(int(word) for word in ctx.args)))

    @bot.on_message
    async def echo(ctx: Context) -> None:
        assert ctx.args == []
        await ctx.send(f"{ctx.sender.npub[:5]} {ctx.text}")

    async with Chat(bot, relay) as chat:
        asked = await chat.say("!add 1 2 3")
        answer = await chat.expect("6")
        assert answer.reply_to == asked.id
        await chat.say("hello")
        await chat.expect("npub1 hello")
        await chat.say("!unknown")
        await chat.expect("npub1 !unknown")
        await chat.say("x")
        with pytest.raises(AssertionError):
            await chat.expect("y")


async def test_a_bot_is_closed_by_default(relay: LocalRelay, make_client: MakeClient) -> None:
    friend, stranger = await make_client("friend"), await make_client("stranger")
    bot = bot_of(relay, allow=[friend.npub])
    heard: list[str] = []

    @bot.on_message
    async def note(ctx: Context) -> None:
        heard.append(ctx.text)
        await ctx.reply("yes")

    async with at_work(bot):
        # An invite by a stranger is not taken: its group never answers.
        unwanted = await stranger.groups.create("come", [bot.client.public_key])
        await unwanted.send("hello?")
        group = await friend.groups.create("ours", [bot.client.public_key, stranger.public_key])
        theirs = await stranger.invites.accept(await stranger.invites.next(PATIENCE))
        await theirs.send("let me in")
        await group.send("it is me")
        assert await hear(group, 2) in (["let me in", "yes"], ["yes", "let me in"])
        assert heard == ["it is me"]
        assert [g.name for g in bot.client.groups] == ["ours"]
        assert await bot.client.invites.pending() == []


def test_allow_has_to_be_said() -> None:
    with pytest.raises(TypeError):
        Bot(":memory:", relays=["ws://127.0.0.1:1"])  # type: ignore[call-arg]
    with pytest.raises(errors.InvalidInput):
        Bot(":memory:", allow="everyone", relays=["ws://127.0.0.1:1"])
    with pytest.raises(errors.InvalidKey):
        Bot(":memory:", allow=["npub1nobody"], relays=["ws://127.0.0.1:1"])


async def test_a_handler_that_fails_gets_the_message_again_and_others_go_on(
    relay: LocalRelay, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    alice = await make_client("alice")
    bot = bot_of(relay)
    attempts: list[str] = []
    mended, thrice = asyncio.Event(), asyncio.Event()

    @bot.on_message
    async def handle(ctx: Context) -> None:
        attempts.append(ctx.text)
        if attempts.count("trouble") == 3:
            thrice.set()
        if ctx.text == "trouble" and not mended.is_set():
            raise ValueError(ctx.text)
        await ctx.reply(f"done {ctx.text}")

    async with at_work(bot):
        bad = await alice.groups.create("bad", [bot.client.public_key])
        good = await alice.groups.create("good", [bot.client.public_key])
        await bad.send("trouble")
        await good.send("one")
        assert await hear(good, 1) == ["done one"]
        await asyncio.wait_for(thrice.wait(), PATIENCE)
        await good.send("two")
        assert await hear(good, 1) == ["done two"]
        mended.set()
        assert await hear(bad, 1) == ["done trouble"]
    said = "\n".join(r.getMessage() for r in caplog.records if r.name == "mdk.bot")
    assert "ValueError" in said
    assert "trouble" not in said


async def test_a_cancelled_task_in_a_handler_is_a_failure_like_others(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    attempts = 0

    @bot.on_message
    async def echo(ctx: Context) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            task = asyncio.create_task(asyncio.sleep(PATIENCE))
            task.cancel()
            await task
        await ctx.reply(ctx.text)

    async with Chat(bot, relay) as chat:
        await chat.say("one")
        await chat.expect("one")
        await chat.say("two")
        await chat.expect("two")
    assert attempts == 3


async def test_an_error_handler_may_give_a_message_up(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    seen: list[tuple[type[Event], str, int]] = []
    given_up = asyncio.Event()

    @bot.on_message
    async def handle(ctx: Context) -> None:
        if ctx.text == "bad":
            raise ValueError("as always")
        await ctx.reply("fine")

    @bot.on_error
    async def judge(event: Event, error: Exception, attempts: int) -> bool:
        seen.append((type(event), str(error), attempts))
        if attempts == 2:
            given_up.set()
        return attempts == 2

    async with Chat(bot, relay) as chat:
        await chat.say("bad")
        await asyncio.wait_for(given_up.wait(), PATIENCE)
        await chat.say("good")
        await chat.expect("fine")
    assert seen == [(MessageReceived, "as always", 1), (MessageReceived, "as always", 2)]


async def test_events_timers_and_conversations(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    joined: list[str] = []
    ticks = asyncio.Event()

    @bot.on(Joined)
    async def note(event: Joined) -> None:
        joined.append(event.group.name)

    @bot.every(timedelta(milliseconds=10))
    async def tick(one: Client) -> None:
        assert one is bot.client
        if ticks.is_set():
            return
        ticks.set()
        raise ValueError("a timer goes on all the same")

    @bot.command("ask")
    async def ask(ctx: Context) -> None:
        await ctx.send("what?")
        answer = await ctx.group.next_message(PATIENCE)
        await ctx.send(f"so {answer.text}")

    async with Chat(bot, relay) as chat:
        await chat.say("/ask")
        await chat.expect("what?")
        await chat.say("this")
        await chat.expect("so this")
        await asyncio.wait_for(ticks.wait(), PATIENCE)
        assert joined == ["chat"]


async def test_a_bot_that_cannot_start_says_so(tmp_path: Path) -> None:
    bot = Bot(tmp_path / "x" / "mdk.db", allow=[], key=None, relays=["http://no"])
    with pytest.raises(errors.MdkError):
        await bot.serve()


def run_bot(
    folder: Path, relay: LocalRelay, kill_at: str = "", *options: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAMS / "slow_bot.py"), str(folder), relay.url, kill_at, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return (await asyncio.to_thread(process.stdout.readline)).strip()


@signals
async def test_killed_in_a_handler_and_away_for_a_while(relay: LocalRelay, tmp_path: Path) -> None:
    """kill -9 in a handler, then messages while it is down: each is handled, that one again."""
    user = await client(relay, "user")
    process = run_bot(tmp_path, relay, kill_at="two")
    try:
        npub = await line(process)
        await relay.until(lambda r: r.count(30443) == 2, PATIENCE)
        group = await user.groups.create("chat", [npub])
        await group.send("one")
        assert await hear(group, 1) == ["done one"]
        await group.send("two")
        assert await line(process) == "in the handler"
        process.kill()
        await asyncio.to_thread(process.communicate)
        await group.send("three")
        process = run_bot(tmp_path, relay)
        assert await line(process) == npub
        assert await hear(group, 2) == ["done two", "done three"]
        assert (tmp_path / "begun").read_text().split() == ["one", "two", "two", "three"]
        assert (tmp_path / "done").read_text().split() == ["one", "two", "three"]
        # And in good order: SIGTERM.
        process.send_signal(signal.SIGTERM)
        _, said = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0, said
        process = run_bot(tmp_path, relay)
        assert await line(process) == npub
        await group.send("four")
        assert await hear(group, 1) == ["done four"]
        assert (tmp_path / "done").read_text().split() == ["one", "two", "three", "four"]
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)
        await user.close()


@signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_in_good_order(
    relay: LocalRelay, tmp_path: Path, number: signal.Signals
) -> None:
    process = run_bot(tmp_path, relay)
    try:
        assert (await line(process)).startswith("npub1")
        process.send_signal(number)
        _, said = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0, said
        assert "Traceback" not in said
        assert said.startswith("Slow is npub1")
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)


async def test_what_a_handler_sent_is_out_when_the_bot_has_ended(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    bot = bot_of(relay)
    bot.client._settings.drain = PATIENCE

    @bot.on_message
    async def handle(ctx: Context) -> None:
        await ctx.reply("last words")
        bot.stop()

    user = await make_client("user")
    serving = await going(bot)
    group = await user.groups.create("chat", [bot.client.public_key])
    await group.send("end")
    await serving
    assert await hear(group, 1) == ["last words"]


async def test_backlog_can_be_left_out(relay: LocalRelay) -> None:
    bot = bot_of(relay, backlog=False)

    @bot.on_message
    async def echo(ctx: Context) -> None:
        await ctx.reply(ctx.text)

    async with Chat(bot, relay, keys=Keys.generate()) as chat:
        await chat.say("live")
        await chat.expect("live")
