"""Bots: commands, signals, that no message is skipped, and which are left out with `backlog=False`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.client.bots import at_work, bot_of, bot_on_disk, in_a_chat
from tests.client.people import KEY, PATIENCE, hear, texts

from mdk import Bot, Client, Context, DatabaseKey, Event, MessageReceived, errors
from mdk.testing import Chat, Clock, LocalRelay
from mdk.testing.clients import impatient
from mdk.testing.fixtures import MakeClient

PROGRAMS = Path(__file__).parent / "programs"


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


def test_allow_has_to_be_said() -> None:
    with pytest.raises(TypeError):
        Bot(":memory:", relays=["ws://127.0.0.1:1"])  # type: ignore[call-arg]
    with pytest.raises(errors.InvalidInput):
        Bot(":memory:", allow="everyone", relays=["ws://127.0.0.1:1"])
    with pytest.raises(errors.InvalidKey):
        Bot(":memory:", allow=["npub1nobody"], relays=["ws://127.0.0.1:1"])


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


async def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    await asyncio.to_thread(process.communicate)


async def ends_in_good_order(process: subprocess.Popen[str], number: signal.Signals) -> None:
    process.send_signal(number)
    _, said = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert said.startswith("Slow is npub1")


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals to other programs")
async def test_killed_in_a_handler_and_away_for_a_while(
    relay: LocalRelay, alice: Client, tmp_path: Path
) -> None:
    """kill -9 in a handler, then messages while it is down: each is handled, that one again."""
    process = run_bot(tmp_path, relay, kill_at="two")
    try:
        npub = await line(process)
        await relay.until(lambda r: r.count(30443) == 2, PATIENCE)
        group = await alice.groups.create("chat", [npub])
        await group.send("one")
        assert await hear(group, 1) == ["done one"]
        await group.send("two")
        assert await line(process) == "in the handler"
        await kill(process)
        await group.send("three")
        process = run_bot(tmp_path, relay)
        assert await line(process) == npub
        assert await hear(group, 2) == ["done two", "done three"]
        assert (tmp_path / "begun").read_text().split() == ["one", "two", "two", "three"]
        assert (tmp_path / "done").read_text().split() == ["one", "two", "three"]
        await ends_in_good_order(process, signal.SIGTERM)
        process = run_bot(tmp_path, relay)
        assert await line(process) == npub
        await group.send("four")
        assert await hear(group, 1) == ["done four"]
        assert (tmp_path / "done").read_text().split() == ["one", "two", "three", "four"]
        await ends_in_good_order(process, signal.SIGINT)
    finally:
        await kill(process)


async def second_over() -> None:
    """Messages say in whole seconds when they were sent: wait until those so far are older than a start now."""
    await asyncio.sleep(1.01 - time.time() % 1)


async def test_what_a_killed_bot_was_handling_comes_again_and_what_it_passed_over_does_not(
    relay: LocalRelay, make_client: MakeClient, tmp_path: Path
) -> None:
    clock = Clock(datetime.now(UTC))
    user = await make_client("user", clock=clock)
    process = run_bot(tmp_path, relay, "two", "--no-backlog")
    try:
        npub = await line(process)
        await relay.until(lambda r: r.count(30443) == 2, PATIENCE)
        group = await user.groups.create("chat", [npub])
        clock.set(datetime.now(UTC))
        await group.send("one")
        assert await hear(group, 1) == ["done one"]
        await group.send("two")
        assert await line(process) == "in the handler"
        await kill(process)
        await second_over()
        # Before the next start in any case, and so far back that it does not follow the last message.
        clock.set(datetime.now(UTC) - timedelta(minutes=20))
        await (await group.send("away")).delivered(PATIENCE)
        process = run_bot(tmp_path, relay, "", "--no-backlog")
        assert await line(process) == npub
        assert await hear(group, 1) == ["done two"]
        clock.set(datetime.now(UTC))
        await group.send("three")
        assert await hear(group, 1) == ["done three"]
        assert (tmp_path / "begun").read_text().split() == ["one", "two", "two", "three"]
    finally:
        await kill(process)


async def test_what_waits_for_its_next_attempt_outlives_a_restart(
    relay: LocalRelay, make_client: MakeClient, tmp_path: Path
) -> None:
    """Also when another program has fetched, between two runs, what was sent while there was no bot."""
    clock = Clock(datetime.now(UTC))
    user = await make_client("user", clock=clock)
    mended = False
    tried = asyncio.Event()

    def handling(bot: Bot) -> Bot:
        @bot.on_message
        async def handle(ctx: Context) -> None:
            if not mended:
                tried.set()
                raise ValueError
            await ctx.reply(f"done {ctx.text}")

        return bot

    async with in_a_chat(handling(bot_on_disk(relay, tmp_path, backlog=False)), user) as group:
        clock.set(datetime.now(UTC))
        await group.send("payment")
        await asyncio.wait_for(tried.wait(), PATIENCE)
    await second_over()
    clock.set(datetime.now(UTC) - timedelta(minutes=1))  # before the next start in any case
    await (await group.send("away")).delivered(PATIENCE)
    path = tmp_path / "bot" / "mdk.db"
    async with impatient(Client.open(path, key=DatabaseKey.raw(KEY))) as fetching:
        await fetching.ready(PATIENCE)
        assert await texts(fetching.groups[group.id]) == ["payment", "away"]
    # A message follows the one before it by a second: "away" may be dated in this one.
    await second_over()
    mended = True
    async with at_work(handling(bot_on_disk(relay, tmp_path, backlog=False))):
        clock.set(datetime.now(UTC))
        await group.send("live")
        assert await hear(group, 2) == ["done payment", "done live"]
