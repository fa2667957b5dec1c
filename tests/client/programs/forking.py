"""Opens all that works with threads, forks, and tries it in the child. It says `both lived` at the end."""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from collections.abc import Awaitable, Callable

from mdk import Bot, Client, Config, Group, RelayPool, errors
from mdk.testing import LocalRelay

PATIENCE = 20.0
LOOPBACK = Config(allow_loopback=True)
Act = Callable[[], object]

warnings.simplefilter(
    "ignore", DeprecationWarning
)  # Python warns of every fork of a process with threads


async def outcome(act: Act) -> str:
    """How it ends in the child."""
    try:
        result = act()
        if isinstance(result, Awaitable):
            async with asyncio.timeout(PATIENCE):
                await result
    except errors.Forked:
        return "Forked"
    except TimeoutError:
        return "it hangs"
    except Exception as error:  # noqa: BLE001
        return repr(error)
    return "it works"


async def in_the_child(
    relay: LocalRelay, pool: RelayPool, client: Client, group: Group, bot: Bot
) -> list[str]:
    """What is not as it should be."""
    refused: dict[str, Act] = {
        "start": client.start,
        "ready": client.ready,
        "sync": client.sync,
        "stats": client.stats,
        "events": lambda: anext(client.events()),
        "events to come": lambda: anext(client.events(after=client.cursor)),
        "create": lambda: client.groups.create("Dinner"),
        "invites": client.invites.next,
        "outbox": client.outbox.flush,
        "key packages": lambda: client.key_packages.find(bot.client.npub),
        "send": lambda: group.send("x"),
        "next message": group.next_message,
        "add": lambda: group.add(client.npub),
        "pool": pool.status,
        "a client on the pool": Client.open(
            ":memory:", relays=["ws://127.0.0.1:9"], pool=pool
        ).start,
        "url": lambda: relay.url,
        "connections": lambda: relay.connections,
        "count": lambda: relay.count(1),
        "stored": lambda: relay.events(1),
        "refuse": relay.refuse,
        "faults": relay.faults,
        "pause": relay.pause,
        "cut": relay.cut,
        "until": lambda: relay.until(lambda _: False),
        "serve": bot.serve,
        "the bot's client": bot.client.ready,
        "an account of its own": Client.open(
            ":memory:", relays=["ws://127.0.0.1:9"], config=LOOPBACK
        ).start,
    }
    harmless: dict[str, Act] = {
        "close": client.close,
        "close the pool": pool.close,
        "leave the relay": lambda: relay.__aexit__(None, None, None),
        "stop": bot.stop,
        "close the bot's client": bot.client.close,
    }
    wrong = [
        f"{name}: {how}" for name, act in refused.items() if (how := await outcome(act)) != "Forked"
    ]
    wrong += [
        f"{name}: {how}"
        for name, act in harmless.items()
        if (how := await outcome(act)) != "it works"
    ]
    return wrong


def main() -> None:
    """Fork between two runs of the loop, as multiprocessing does."""
    with asyncio.Runner() as runner:
        relay, pool = LocalRelay(), RelayPool(allow_loopback=True)
        runner.run(relay.__aenter__())
        client = Client.open(":memory:", relays=[relay.url], pool=pool)
        runner.run(client.__aenter__())
        group = runner.run(client.groups.create("Lunch"))
        bot = Bot(":memory:", allow=[], relays=[relay.url], config=LOOPBACK)
        started = asyncio.Event()

        async def note(_client: Client) -> None:
            started.set()

        async def set_going() -> asyncio.Task[None]:
            serving = asyncio.create_task(bot.serve())
            await asyncio.wait_for(started.wait(), PATIENCE)
            return serving

        bot.on_start(note)
        serving = runner.run(set_going())
        child = os.fork()
        if child == 0:
            code = 1
            try:
                wrong = asyncio.run(in_the_child(relay, pool, client, group, bot))
                print("\n".join(wrong), file=sys.stderr, flush=True)
                code = len(wrong)
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, "see above"

        async def goes_on() -> None:
            await (await group.send("from the parent")).delivered(PATIENCE)
            bot.stop()
            await serving
            await client.close()
            await pool.close()
            await relay.__aexit__(None, None, None)

        runner.run(goes_on())
    print("both lived")


main()
