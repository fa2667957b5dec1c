"""Many accounts in one process on shared connections: start-up time, memory per idle account, processor time.

    python benches/accounts.py [--count 500] [--idle 10] [--json] [--check]

The relay is a process of its own. Accounts have databases on disk. `connections` are the sockets to
the relay. `--check` exits 1 over 2 MB per account or 60 s. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from mdk import Client, DatabaseKey, RelayPool

MAX_BYTES = 2_000_000
MAX_SECONDS = 60.0
AT_ONCE = 16
"""Accounts that are started side by side."""

RELAY = """
import asyncio, sys
from mdk.testing import LocalRelay

async def main():
    async with LocalRelay() as relay:
        print(relay.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def connections(port: int) -> int:
    """Sockets of this process that are connected to this port. The pool tells about relays."""
    ours = set()
    for file in Path("/proc/self/fd").iterdir():
        # One that was closed since the folder was read is none.
        with suppress(OSError):
            ours.add(str(file.readlink()))
    lines = Path("/proc/self/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    # local address, remote address, state (01 is established), and the inode as the tenth.
    rows = [line.split() for line in lines]
    return sum(
        int(row[2].split(":")[1], 16) == port and row[3] == "01" and f"socket:[{row[9]}]" in ours
        for row in rows
    )


async def measure(relay: str, folder: Path, count: int, idle: float) -> dict[str, float]:
    async with RelayPool(allow_loopback=True) as pool:

        def account(number: int) -> Client:
            return Client.open(
                folder / str(number) / "mdk.db",
                key=DatabaseKey.raw(os.urandom(32)),
                relays=[relay],
                pool=pool,
            )

        # One before: what the first account brings along is not each account's.
        first = account(0)
        await first.start()
        await first.ready(60)
        limit = asyncio.Semaphore(AT_ONCE)

        async def start(client: Client) -> None:
            async with limit:
                await client.start()
                await client.ready(MAX_SECONDS)

        before, begun = resident(), time.monotonic()
        clients = [account(number) for number in range(1, count + 1)]
        try:
            await asyncio.gather(*(start(client) for client in clients))
            seconds = time.monotonic() - begun
            processor, since = time.process_time(), time.monotonic()
            await asyncio.sleep(idle)
            busy = (time.process_time() - processor) / (time.monotonic() - since)
            return {
                "accounts": count,
                "start_seconds": round(seconds, 2),
                "bytes_per_account": round((resident() - before) / count),
                "idle_processor_percent": round(busy * 100, 2),
                "threads": threads(),
                "connections": connections(urlsplit(relay).port or 0),
            }
        finally:
            await asyncio.gather(*(client.close() for client in [first, *clients]))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--idle", type=float, default=10.0, help="seconds to look at idle accounts")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    relay = subprocess.Popen(
        [sys.executable, "-c", RELAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert relay.stdout is not None
        url = relay.stdout.readline().strip()
        with tempfile.TemporaryDirectory(prefix="mdk-accounts-") as folder:
            found = asyncio.run(measure(url, Path(folder), options.count, options.idle))
    finally:
        relay.communicate("")
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name.replace('_', ' '):<24} {value:>12,}")
    held = found["bytes_per_account"] < MAX_BYTES and found["start_seconds"] < MAX_SECONDS
    return 1 if options.check and not held else 0


if __name__ == "__main__":
    sys.exit(main())
