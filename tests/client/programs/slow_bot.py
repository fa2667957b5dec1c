"""A bot whose handler says in a file that it began, and waits to be killed the first time."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from mdk import Bot, Context, DatabaseKey
from mdk.testing.clients import impatient

folder, relay, kill_at = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
begun, done = folder / "begun", folder / "done"

bot = Bot(
    folder / "bot" / "mdk.db",
    allow="anyone",
    relays=[relay],
    key=DatabaseKey.raw(bytes(range(32))),
    name="Slow",
    backlog="--no-backlog" not in sys.argv,
)
impatient(bot.client)


@bot.on_start
async def started(_client: object) -> None:
    print(bot.client.npub, flush=True)


@bot.on_message
async def handle(ctx: Context) -> None:
    with begun.open("a") as out:
        out.write(f"{ctx.text}\n")
    if ctx.text == kill_at:
        print("in the handler", flush=True)
        await asyncio.Event().wait()
    with done.open("a") as out:
        out.write(f"{ctx.text}\n")
    await ctx.reply(f"done {ctx.text}")


bot.run()
