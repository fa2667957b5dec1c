"""The example programs run as they stand. `examples/test_bot.py` is collected by pytest itself.

Only demo.py has a line more than the examples that the interface was drawn up with: Alice waits for Bob's answer before
she reads her history. It runs without that line as well.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.client.people import PATIENCE, event_of, hear
from tests.client.pictures import JPEG, png
from tests.docs.blocks import ROOT, blocks

import mdk.demo
from mdk import Client, DatabaseKey, Group, Keys, ReactionAdded
from mdk.testing import LocalBlossom, LocalRelay, client
from mdk.testing.clients import impatient

HERE = Path(__file__).parent
RUN = HERE / "programs" / "run_example.py"
WAITS = "        await group.next_message(timeout=5)\n"


def start(
    name: str | Path, relay: LocalRelay, folder: Path, npub: str = "", blobs: str = "", **more: str
) -> subprocess.Popen[str]:
    program = HERE / "examples" / f"{name}.py" if isinstance(name, str) else name
    return subprocess.Popen(
        [sys.executable, str(RUN), str(program), relay.url, npub],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "XDG_DATA_HOME": str(folder / "data"), "BLOBS": blobs, **more},
    )


async def output(process: subprocess.Popen[str]) -> str:
    out, err = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err, err
    return out


async def test_demo(relay: LocalRelay, tmp_path: Path) -> None:
    lines = (await output(start("demo", relay, tmp_path))).splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == ["Soup or sandwich?", "Soup."]


async def test_demo_as_it_was_drawn_up(relay: LocalRelay, tmp_path: Path) -> None:
    """Without the line that waits for the answer."""
    text = (HERE / "examples" / "demo.py").read_text(encoding="utf-8")
    assert text.count(WAITS) == 1
    program = tmp_path / "demo.py"
    program.write_text(text.replace(WAITS, ""), encoding="utf-8")
    lines = (await output(start(program, relay, tmp_path))).splitlines()
    question, *answer = [line.split(": ", 1)[1] for line in lines]
    # Her own message is on her disk before send() returns. Bob's send() returns when his is on his: whether the relay
    # has brought it to her before she reads her history is a race.
    assert question == "Soup or sandwich?"
    assert answer in ([], ["Soup."])


async def test_lowlevel(relay: LocalRelay, tmp_path: Path) -> None:
    out = await output(start("lowlevel", relay, tmp_path))
    assert out.startswith("Soup or sandwich?\n")
    assert "wss://relay.example" in out


async def alice_with(relay: LocalRelay, folder: Path, bob: Client, name: str = "Lunch") -> Group:
    """An account "alice" as the examples expect it, in a group with bob. Bob's handle."""
    path = folder / "data" / "mdk" / "alice" / "mdk.db"
    async with impatient(
        Client.open(path, key=DatabaseKey.from_file(folder / "alice.key"), relays=[relay.url])
    ) as alice:
        group = await alice.groups.create(name, [bob.public_key])
        room = await bob.invites.accept(await bob.invites.next(PATIENCE))
        await group.send("hello")
        assert await hear(room, 1) == ["hello"]
        await alice.outbox.flush(PATIENCE)
        return room


async def test_backup(relay: LocalRelay, tmp_path: Path) -> None:
    async with await client(relay, "bob") as bob:
        await alice_with(relay, tmp_path, bob)
        out = await output(start("backup", relay, tmp_path))
        assert out.startswith("1 groups, reachable as npub1")
        assert (tmp_path / "alice.mdkbackup").exists()
        assert (tmp_path / "data" / "mdk" / "alice-laptop" / "mdk.db").exists()


async def test_rekey(relay: LocalRelay, tmp_path: Path) -> None:
    async with await client(relay, "bob") as bob:
        room = await alice_with(relay, tmp_path, bob)
        epoch = room.info.epoch
        assert await output(start("rekey", relay, tmp_path)) == "1 groups updated\n"
        await bob.sync()
        assert room.info.epoch == epoch + 2


async def test_send_image(relay: LocalRelay, blobs: LocalBlossom, tmp_path: Path) -> None:
    async with await client(relay, "bob", blobs=blobs) as bob:
        room = await alice_with(relay, tmp_path, bob, name="")
        await room.send_file(png(8, 8), filename="dog.png")
        (tmp_path / "cat.jpg").write_bytes(JPEG)
        program = start("send_image", relay, tmp_path, bob.npub, blobs.url)
        message = await room.next_message(PATIENCE)
        assert (message.text, message.attachments[0].mime_type) == ("She moved in.", "image/jpeg")
        cat = await bob.media.download(message.attachments[0])
        assert cat.startswith(b"\xff\xd8")
        assert b"Lunch" not in cat
        assert await output(program) == ""
        assert (tmp_path / "inbox" / "cat.jpg").read_bytes() == cat
        assert (tmp_path / "inbox" / "dog.png").read_bytes().startswith(b"\x89PNG")


def archived(folder: Path) -> list[str]:
    archive = folder / "archive.ndjson"
    lines = archive.read_text().splitlines() if archive.exists() else []
    return [json.loads(line)["text"] for line in lines]


async def wait_for(text: str, folder: Path) -> None:
    async with asyncio.timeout(PATIENCE):
        while text not in archived(folder):  # noqa: ASYNC110  # a file of another process
            await asyncio.sleep(0.02)


async def group_with_archiver(relay: LocalRelay, folder: Path, bob: Client) -> Group:
    """A group of Bob's with the account "archiver" as the bridges expect it."""
    path = folder / "data" / "mdk" / "archiver" / "mdk.db"
    key = DatabaseKey.from_file(folder / "archiver.key")
    async with impatient(Client.open(path, key=key, relays=[relay.url])) as archiver:
        group = await bob.groups.create("Lunch", [archiver.public_key])
        await archiver.invites.accept(await archiver.invites.next(PATIENCE))
    return group


async def test_bridge(relay: LocalRelay, tmp_path: Path) -> None:
    """It is interrupted and started again: nothing is lost or written twice.

    It is not killed: while it writes its cursor down that would lose it. The bridge of the guide is.
    """
    bob = await client(relay, "bob")
    said: list[str] = []
    async with bob:
        group = await group_with_archiver(relay, tmp_path, bob)
        for round_ in range(3):
            said += [f"while away {round_}", f"live {round_}"]
            await group.send(said[-2])
            process = start("bridge", relay, tmp_path)
            try:
                await wait_for(said[-2], tmp_path)
                await group.send(said[-1])
                await wait_for(said[-1], tmp_path)
                process.send_signal(signal.SIGINT)
                _, err = await asyncio.to_thread(process.communicate, timeout=60)
                assert process.returncode == -signal.SIGINT, err
            finally:
                process.kill()
            assert archived(tmp_path) == said


async def test_bridge_of_the_guide(relay: LocalRelay, tmp_path: Path) -> None:
    """It is killed and started again: nothing is lost, and what was written is not written again.

    It is the program of the guide. Once it is killed in the middle of writing its cursor down.
    """
    document = ROOT / "docs" / "guide" / "servers.md"
    (code,) = (block.code for block in blocks(document) if "CURSOR" in block.code)
    program = tmp_path / "bridge.py"
    program.write_text(code.replace("wss://relay.example", relay.url))
    async with await client(relay, "bob") as bob:
        group = await group_with_archiver(relay, tmp_path, bob)
        for round_ in range(3):
            await group.send(f"while away {round_}")
            if round_ == 2:
                dies = start(program, relay, tmp_path, DIES_WRITING="1")
                _, err = await asyncio.to_thread(dies.communicate, timeout=60)
                assert dies.returncode == -signal.SIGKILL, err
            process = start(program, relay, tmp_path)
            try:
                await wait_for(f"while away {round_}", tmp_path)
                await group.send(f"live {round_}")
                await wait_for(f"live {round_}", tmp_path)
            finally:
                process.kill()
                # Shown when the test fails.
                print(archived(tmp_path), *await asyncio.to_thread(process.communicate))
        said = archived(tmp_path)
        assert [text for text in said if text in ("while away 0", "while away 1")] == [
            "while away 0",
            "while away 1",
        ]
        # At least once: the last one before a kill may have been written before its cursor was.
        assert set(said) == {f"{what} {n}" for what in ("while away", "live") for n in (0, 1, 2)}


async def test_echo_bot(relay: LocalRelay, tmp_path: Path) -> None:
    keys = Keys.generate()
    user = await client(relay, "user", keys=keys)
    process = start("echo_bot", relay, tmp_path, keys.public_key.npub)
    try:
        assert process.stderr is not None
        said = await asyncio.to_thread(process.stderr.readline)
        npub = said.split()[-1]
        assert said == f"Echo is {npub}\n"
        # Its KeyPackage, besides ours.
        await relay.until(lambda r: r.count(30443) == 2, PATIENCE)
        group = await user.groups.create("chat", [npub])
        question = await group.send("hello")
        answer = await group.next_message(PATIENCE)
        assert (answer.text, answer.reply_to) == ("hello", question.message.id)
        pinged = await group.send("/ping")
        added = await event_of(user, ReactionAdded)
        assert (added.reaction.message_id, added.reaction.emoji) == (pinged.message.id, "🏓")
        process.send_signal(signal.SIGINT)
        assert await output(process) == ""
    finally:
        process.kill()
        # Shown when the test fails.
        print(relay.count(30443), relay.connections, *await asyncio.to_thread(process.communicate))
        await user.close()


def test_make_demo(capsys: pytest.CaptureFixture[str]) -> None:
    mdk.demo.main()
    out = capsys.readouterr().out
    assert "Are you still there?" in out
    assert "SQLCipher" in out
    assert float(out.rsplit("Done in ", 1)[1].split(" s")[0]) > 0


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
