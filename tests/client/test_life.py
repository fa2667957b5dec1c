"""Opening, closing, cancelling, the event stream over restarts, and what is refused."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.client.people import KEY, PATIENCE, Account, Two, hear, join

import mdk
from mdk import (
    Client,
    DatabaseKey,
    Delivery,
    Event,
    Keys,
    MessageReceived,
    RelayPool,
    errors,
)
from mdk.client import closing, data_folder
from mdk.client.accounts import database_path
from mdk.testing import LocalRelay, client
from mdk.testing.clients import impatient


@pytest.mark.skipif(sys.platform == "win32", reason="no user ids")
def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    # As in a container that is started with an id that nobody has.
    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    for account in ("alice", "~/alice.db"):
        with pytest.raises(errors.InvalidInput) as raised:
            Client.open(account)
        assert raised.value.field == "account"
        assert "HOME" in (raised.value.hint or "")


async def test_what_cannot_be_opened(
    relay: LocalRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Names stand for folders.
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert data_folder().is_absolute()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert (
        database_path("alice")
        == data_folder() / "alice" / "mdk.db"
        == tmp_path / "mdk/alice/mdk.db"
    )
    for bad in ("", ".", "..", ".hidden", "a b", "x" * 65, "né"):
        with pytest.raises(errors.InvalidInput):
            Client.open(bad)
    path = tmp_path / "a" / "mdk.db"
    with pytest.raises(errors.InvalidInput) as raised:
        await Client.open(path, key=DatabaseKey.raw(KEY)).start()
    assert raised.value.field == "relays"
    with pytest.raises(errors.InvalidInput):
        Client.open(path, relays=relay.url)
    with pytest.raises(errors.InvalidInput):
        Client.open(":memory:", key=DatabaseKey.raw(KEY))
    with pytest.raises(errors.InvalidRelayUrl):
        async with Client.open(":memory:", relays=["https://relay.example"]):
            pass
    async with impatient(Client.open(path, key=DatabaseKey.raw(KEY), relays=[relay.url])):
        with pytest.raises(errors.DatabaseBusy):
            await Client.open(path, key=DatabaseKey.raw(KEY)).start()
    with pytest.raises(errors.WrongKey):
        await Client.open(path, key=DatabaseKey.raw(bytes(32))).start()
    with pytest.raises(errors.WrongAccount):
        await Client.open(path, key=DatabaseKey.raw(KEY), keys=Keys.generate()).start()
    engine = mdk.Mdk.open(tmp_path / "b" / "mdk.db", keys=Keys.generate(), key=DatabaseKey.raw(KEY))
    engine.close()
    with pytest.raises(errors.KeysMissing):
        await Client.open(tmp_path / "b" / "mdk.db", key=DatabaseKey.raw(KEY)).start()


async def test_before_and_after(relay: LocalRelay, tmp_path: Path) -> None:
    alice = impatient(Client.open(":memory:", relays=[relay.url]))
    assert repr(alice) == "<Client, not started>"
    with pytest.raises(errors.Closed) as raised:
        _ = alice.npub
    assert raised.value.hint is not None
    await alice.start()
    await alice.start()
    with pytest.raises(errors.InMemory) as not_kept:
        await alice.backup(tmp_path / "backup", passphrase="correct horse")
    assert "Client.open" in (not_kept.value.hint or "")
    engine = alice.engine
    group = await alice.groups.create("mine")
    stream = alice.events(after=alice.cursor)
    waiting = asyncio.ensure_future(anext(stream, None))
    asked = asyncio.ensure_future(group.next_message())
    await asyncio.sleep(0)
    await alice.close()
    await alice.close()
    assert await waiting is None
    with pytest.raises(errors.Closed):
        await asked
    for call in (lambda: group.send("too late"), alice.start, alice.outbox.pending, alice.ready):
        with pytest.raises(errors.Closed) as raised:
            await call()
        assert raised.value.hint == "Open the account again: Client.open()."
    with pytest.raises(errors.Closed) as raised:
        engine.groups()
    assert "Mdk.open" not in (raised.value.hint or "")


async def test_the_stream_over_restarts(relay: LocalRelay, tmp_path: Path) -> None:
    """A reader that stops and comes back again and again: each event once, in order."""
    alice, bob = Account(tmp_path, "alice", relay), Account(tmp_path, "bob", relay)
    said = [str(n) for n in range(30)]
    async with alice.open() as hers, bob.open() as his:
        group, room = await join(hers, his)
        for text in said:
            await group.send(text)
        assert sorted(await hear(room, len(said)), key=int) == said

    async def read(who: Client, after: str | None, most: int) -> list[Event]:
        found: list[Event] = []
        async for event in who.events(after=after):
            found.append(event)
            if len(found) == most or event.cursor == who.cursor:
                break
        return found

    parts: list[Event] = []
    for _ in range(4):
        async with bob.open(ready=False) as his:
            parts += await read(his, parts[-1].cursor if parts else None, 9)
    async with bob.open(ready=False) as his:
        whole = await read(his, None, 1000)
    cursors = [int(event.cursor) for event in parts]
    assert cursors == sorted(set(cursors))
    assert cursors == [int(event.cursor) for event in whole]
    heard = [event.message.text for event in parts if isinstance(event, MessageReceived)]
    assert sorted(heard, key=int) == said


async def test_cancelling_at_any_await_breaks_nothing(two: Two) -> None:
    """Calls that are cancelled after 0, 1, 2 … turns of the loop; then everything still works."""
    alice, bob, group, room = two
    for turns in range(12):
        calls = [
            group.send(f"maybe {turns}"),
            group.next_message(),
            alice.sync(),
            alice.outbox.flush(),
            alice.invites.next(),
            alice.groups.direct(bob.public_key),
        ]
        if turns % 6 == 0:
            calls.append(group.self_update())
        tasks = [asyncio.ensure_future(call) for call in calls]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(r is None or not isinstance(r, errors.InternalError) for r in results)
    last = await group.send("certainly")
    assert (await last.delivered(PATIENCE)).delivery is Delivery.ACCEPTED
    heard: list[str] = []
    while "certainly" not in heard:
        heard += await hear(room, 1)
    assert len(heard) == len(set(heard))
    assert len(await asyncio.gather(*(alice.groups.direct(bob.npub) for _ in range(3)))) == 3
    assert len([g for g in alice.groups if not g.name]) == 1


async def test_closing_has_one_end(
    relay: LocalRelay,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It returns although the connections do not end and the database is in use, and goes on when they do."""
    monkeypatch.setattr(closing, "CLOSE", 0.5)
    account = Account(tmp_path, "alice", relay)
    async with account.open() as alice:
        native, closable = alice._session.native, asyncio.Event()

        class Lasting:
            async def close(self, drain: float) -> None:
                await closable.wait()
                await native.close(drain)

        monkeypatch.setattr(alice._session, "native", Lasting())
        alice._settings.drain = -0.5
        used, done = threading.Event(), threading.Event()

        def use(_: object) -> None:
            used.set()
            done.wait(PATIENCE)

        using = asyncio.create_task(asyncio.to_thread(lambda: alice.engine.verify(progress=use)))
        assert await asyncio.to_thread(used.wait, PATIENCE)
        await asyncio.wait_for(alice.close(), PATIENCE)
        closable.set()
        alice._settings.drain = 0.0
        await asyncio.wait_for(alice.close(), PATIENCE)
        assert not using.done()
        done.set()
        await using
        monkeypatch.setattr(closing, "CLOSE", PATIENCE)
        await alice.close()
    assert "in use" in caplog.text
    async with account.open() as again:
        assert len(again.groups) == 0


CHILD = """
import asyncio, sys
from mdk import Client
from mdk.testing import LocalRelay, pair

async def main():
    async with LocalRelay() as relay:
        alice, bob, group = await pair(relay)
        await group.send("hello")
        assert (await bob.groups[group.id].next_message(20)).text == "hello"
        {end}

{run}
print("ok")
"""


@pytest.mark.parametrize(
    ("run", "end"),
    [
        ("import uvloop; uvloop.run(main())", "await alice.close(); await bob.close()"),
        # Forgotten: the loop ends while everything runs, the process all the same, and in silence.
        ("asyncio.run(main(), debug=True)", "waiting = group.next_message()"),
        (
            "loop = asyncio.new_event_loop(); loop.run_until_complete(main()); loop.close()",
            "bob.events().__anext__(); asyncio.ensure_future(bob._session.native.changed(10**9))",
        ),
    ],
    ids=["uvloop", "forgotten", "closed"],
)
def test_loops(run: str, end: str) -> None:
    if "uvloop" in run:
        pytest.importorskip("uvloop")
    done = subprocess.run(
        [sys.executable, "-c", CHILD.format(run=run, end=end)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
    noise = [
        line
        for line in done.stderr.splitlines()
        if "Traceback" in line or "closed" in line.lower() or "Error" in line
    ]
    assert noise == [] or "coroutine" in done.stderr, done.stderr


def test_the_interpreter_may_end_at_any_moment() -> None:
    """Right after a future of ours was settled, while its thread is still on the way out."""
    program = (
        "import asyncio\n"
        "from mdk.testing import LocalRelay\n"
        "async def main():\n"
        "    async with LocalRelay():\n"
        "        pass\n"
        "asyncio.run(main())\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    said = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0] * len(running), said


async def test_the_loop_is_never_blocked(relay: LocalRelay, tmp_path: Path) -> None:
    """A call that kept the loop from turning would wait for an engine that only the loop lets go of."""
    async with Account(tmp_path, "alice", relay).open() as alice:
        group = await alice.groups.create("mine")
        held, let_go = threading.Event(), threading.Event()

        def keep(_progress: object) -> None:
            held.set()
            assert let_go.wait(PATIENCE)

        keeping = asyncio.create_task(asyncio.to_thread(lambda: alice.engine.verify(progress=keep)))
        assert await asyncio.to_thread(held.wait, PATIENCE)
        sending = asyncio.create_task(group.send("waits for the engine"))
        for _ in range(20):
            await asyncio.sleep(0)
        assert (group.name, len(alice.groups)) == ("mine", 1)
        alice.stats()
        assert not sending.done()
        let_go.set()
        assert (await keeping).ok
        await sending


async def test_two_accounts_over_one_pool(relay: LocalRelay) -> None:
    async with RelayPool(allow_loopback=True) as pool:
        alice = await client(relay, "alice", pool=pool)
        bob = await client(relay, "bob", pool=pool)
        async with alice, bob:
            assert relay.connections == 1
            group, room = await join(alice, bob)
            await group.send("hello")
            assert await hear(room, 1) == ["hello"]
            await alice.close()
            assert [status.state for status in pool.status()] == ["connected"]
            await room.send("alone")


def test_a_pool_refuses_nonsense() -> None:
    for proxy in ("", "proxy", "http://127.0.0.1:1", "socks5://name:9050"):
        with pytest.raises(errors.InvalidInput):
            RelayPool(proxy=proxy)
