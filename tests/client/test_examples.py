"""What a user is told to run runs: the bridge of the guide, the fixtures of tests.

The other programs of the documents run in tests/docs.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.client.people import PATIENCE
from tests.docs.blocks import ROOT, blocks

from mdk import Client, DatabaseKey
from mdk.testing import LocalRelay
from mdk.testing.clients import impatient

RUN = Path(__file__).parent / "programs" / "run_example.py"


def start(program: Path, relay: LocalRelay, **more: str) -> subprocess.Popen[str]:
    folder = program.parent
    return subprocess.Popen(
        [sys.executable, str(RUN), str(program), relay.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "XDG_DATA_HOME": str(folder / "data"), **more},
    )


def archived(folder: Path) -> list[str]:
    archive = folder / "archive.ndjson"
    lines = archive.read_text().splitlines() if archive.exists() else []
    return [json.loads(line)["text"] for line in lines]


async def wait_for(text: str, folder: Path) -> None:
    async with asyncio.timeout(PATIENCE):
        while text not in archived(folder):  # noqa: ASYNC110  # a file of another process
            await asyncio.sleep(0.02)


async def test_the_bridge_of_the_guide(relay: LocalRelay, alice: Client, tmp_path: Path) -> None:
    """It is killed and started again, once while it writes its cursor down: nothing is lost, or written again."""
    document = ROOT / "docs" / "guide" / "servers.md"
    (code,) = (block.code for block in blocks(document) if "CURSOR" in block.code)
    program = tmp_path / "bridge.py"
    program.write_text(code.replace("wss://relay.example", relay.url))
    # The account "archiver" as the bridge expects it, in a group.
    path = tmp_path / "data" / "mdk" / "archiver" / "mdk.db"
    key = DatabaseKey.from_file(tmp_path / "archiver.key")
    async with impatient(Client.open(path, key=key, relays=[relay.url])) as archiver:
        group = await alice.groups.create("Lunch", [archiver.public_key])
        await archiver.invites.accept(await archiver.invites.next(PATIENCE))
    away = [f"while away {round_}" for round_ in range(3)]
    for round_, text in enumerate(away):
        await group.send(text)
        if round_ == 2:
            dies = start(program, relay, DIES_WRITING="1")
            _, err = await asyncio.to_thread(dies.communicate, timeout=60)
            assert dies.returncode == -signal.SIGKILL, err
        process = start(program, relay)
        try:
            await wait_for(text, tmp_path)
            await group.send(f"live {round_}")
            await wait_for(f"live {round_}", tmp_path)
        finally:
            process.kill()
            # Shown when the test fails.
            print(archived(tmp_path), *await asyncio.to_thread(process.communicate))
    said = archived(tmp_path)
    assert [text for text in said if text in away[:2]] == away[:2]
    # At least once: the last one before a kill may have been written before its cursor was.
    assert set(said) == {*away, *(f"live {n}" for n in range(3))}


def test_fixtures_of_a_users_own_tests(tmp_path: Path) -> None:
    """As the documentation says: a conftest of one line."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["mdk.testing.fixtures"]\n')
    (tmp_path / "test_mine.py").write_text(
        "async def test_mine(relay, make_client):\n"
        "    alice = await make_client('alice')\n"
        "    await alice.groups.create('mine')\n"
        "    assert relay.count(30443) == 1\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
