"""Bots: commands, conversations, signals, and that no message is skipped."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.client.bots import bot_of
from tests.client.people import PATIENCE, hear

from mdk import Bot, Client, Context, Event, MessageReceived, errors
from mdk.testing import Chat, LocalRelay

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
