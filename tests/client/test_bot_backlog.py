"""`backlog=False` leaves out what was sent while there was no bot, and nothing else."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.client.bots import at_work, bot_on_disk, in_a_chat
from tests.client.people import KEY, PATIENCE, hear, texts
from tests.client.test_bot import kill, line, run_bot

from mdk import Bot, Client, Context, DatabaseKey
from mdk.testing import Clock, LocalRelay
from mdk.testing.clients import impatient
from mdk.testing.fixtures import MakeClient


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
