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

from mdk import DeliveryChanged, errors
from mdk.testing.fixtures import MakeClient

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the shim"),
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the shim reads /proc"),
]

# The relay goes away and comes back while the disk fails, so that its history is fetched meanwhile.
PROGRAM = """
import asyncio, contextlib, errno, logging, os, sys
from pathlib import Path
from mdk import Client, DatabaseKey, Keys
from mdk.errors import StorageError
from mdk.testing import LocalRelay
from tests.vault.torture.shim import Kind, Mode, Plan, Shim

path, shim, told = Path(sys.argv[1]), Shim(), asyncio.Event()

class Ear(logging.Handler):
    def emit(self, record):
        if "more is on its way" in record.getMessage():
            loop.call_soon_threadsafe(told.set)

async def main():
    global loop
    loop = asyncio.get_running_loop()
    logging.getLogger("mdk").addHandler(Ear())
    key = DatabaseKey.raw(os.urandom(32))
    async with LocalRelay() as relay:
        async with Client.open(path, keys=Keys.generate(), key=key, relays=[relay.url]) as client:
            group = await client.groups.create("mine")
            await (await group.send("one")).delivered(20)
            shim.arm(path.parent, Plan(Mode.FAIL, 1, Kind.SYNC | Kind.READ, errno.EIO, sticky=True))
            try:
                await group.send("two")
            except StorageError:
                print("not stored", flush=True)
            await relay.cut()
            # What the engine logs is handed over by the next call.
            async with asyncio.timeout(30):
                while not told.is_set():
                    with contextlib.suppress(StorageError):
                        client.engine.groups()
                    await asyncio.sleep(0.02)
            shim.disarm()
            await (await group.send("three")).delivered(30)
            print([m.text async for m in group.history(newest_first=False)], flush=True)

asyncio.run(main())
"""


async def test_events_go_on_after_they_could_not_be_read(make_client: MakeClient) -> None:
    alice = await make_client("alice")
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
    assert faults == 0
    assert alice.groups[group.id].name == "mine"


def test_a_client_goes_on_when_the_disk_is_well_again(tmp_path: Path) -> None:
    path = tmp_path / "home" / "m.db"
    path.parent.mkdir(mode=0o700)
    shim = build(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)],
        env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "not stored\n['one', 'three']\n"
