"""A disk that fails for a while stops nothing for good: what can be tried again is tried again."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.client.people import PATIENCE
from tests.vault.torture.shim import build

from mdk import Client, DeliveryChanged, errors

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the shim"),
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the shim reads /proc"),
]

# While the disk fails the relay either goes away and comes back, so that its history is fetched, or it gives an event:
# then nothing more is read until that one is stored.
PROGRAM = """
import asyncio, contextlib, errno, logging, os, sys
from pathlib import Path
from mdk import Client, DatabaseKey, Keys
from mdk.errors import StorageError
from mdk.testing import LocalRelay
from tests.client.people import until
from tests.vault.torture.shim import Kind, Mode, Plan, Shim

home, invited = Path(sys.argv[1]), sys.argv[2] == "invite"
shim, told, keys = Shim(), asyncio.Event(), Keys.generate()
LONG = 60

class Ear(logging.Handler):
    def emit(self, record):
        if ("events wait" if invited else "more is on its way") in record.getMessage():
            loop.call_soon_threadsafe(told.set)

def account(name, keys, relay):
    key = DatabaseKey.raw(os.urandom(32))
    return Client.open(home / name / "m.db", keys=keys, key=key, relays=[relay.url])

async def main():
    global loop
    loop = asyncio.get_running_loop()
    logging.getLogger("mdk").addHandler(Ear())
    async with LocalRelay() as relay, account("friend", Keys.generate(), relay) as friend:
        async with account("own", keys, relay) as client:
            group = await client.groups.create("mine")
            await (await group.send("one")).delivered(LONG)
            await relay.until(lambda relay: relay.count(30443) == 2, LONG)
            # What the relay has has come back and is stored: what reads the relay waits for no disk.
            await until(lambda: client.stats().events_received >= 1, client)
            await client.sync()
            shim.arm(home / "own", Plan(Mode.FAIL, 1, Kind.SYNC | Kind.READ, errno.EIO, sticky=True))
            try:
                await group.send("two")
            except StorageError:
                print("not stored", flush=True)
            if invited:
                await friend.groups.create("theirs", [keys.public_key])
            else:
                await relay.cut()
            # What the engine logs is handed over by the next call.
            async with asyncio.timeout(LONG):
                while not told.is_set():
                    with contextlib.suppress(StorageError):
                        client.engine.groups()
                    await asyncio.sleep(0.02)
            shim.disarm()
            await (await group.send("three")).delivered(LONG)
            print([m.text async for m in group.history(newest_first=False)], flush=True)
            if invited:
                print((await client.invites.next(LONG)).group_name)

asyncio.run(main())
"""


async def test_events_go_on_after_they_could_not_be_read(alice: Client) -> None:
    feed = alice._session.feed
    poll, faults = feed._native.poll, 2

    class Failing:
        """The log cannot be read for a while."""

        async def poll(self, position: int, most: int) -> object:
            nonlocal faults
            read = await poll(position, most)
            if faults:
                faults -= 1
                raise errors.StorageError("reading failed")
            return read

    feed._native = Failing()  # type: ignore[assignment]
    group = await alice.groups.create("mine")
    sent = await group.send("one")
    await sent.delivered(PATIENCE)
    async with asyncio.timeout(PATIENCE):
        async for event in alice.events(after="0"):
            if isinstance(event, DeliveryChanged):
                break
        # The call that was under way may have read all of it.
        while faults:
            await (await group.send("again")).delivered(PATIENCE)
    assert alice.groups[group.id].name == "mine"


@pytest.mark.parametrize("what", ["history", "invite"])
def test_a_client_goes_on_when_the_disk_is_well_again(tmp_path: Path, what: str) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    shim = build(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(home), what],
        env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    invite = "theirs\n" if what == "invite" else ""
    assert done.stdout == f"not stored\n['one', 'three']\n{invite}"
