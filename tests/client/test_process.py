"""The process around a client: forks, bugs, a second event loop, and calls that are cancelled."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.client.people import KEY, PATIENCE

from mdk import Client, DatabaseKey, Event, Group, _mdk, errors
from mdk.client import upkeep
from mdk.errors import WrongLoop
from mdk.testing import LocalRelay
from mdk.testing.clients import impatient
from mdk.testing.fixtures import MakeClient

PROGRAMS = Path(__file__).parent / "programs"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_of_fork_is_refused_by_everything() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAMS / "forking.py")],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "both lived\n"), done.stderr


async def test_a_panic_settles_the_future_with_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(errors.InternalError, match=r"panic at faults\.rs:\d+"):
        await asyncio.wait_for(_mdk._panic_in_future(), PATIENCE)
    captured = capfd.readouterr()
    assert "must not be printed" not in captured.out + captured.err


async def test_a_panic_of_the_engine_is_what_listeners_hear(make_client: MakeClient) -> None:
    """Not an end of the stream, as if somebody had closed the account."""
    client = await make_client("alice")
    group = await client.groups.create("Lunch")
    events = client.events(after=client.cursor)
    waiting = asyncio.ensure_future(group.next_message())
    with pytest.raises(errors.InternalError):
        _mdk._panic(client.engine)
    with pytest.raises(errors.InternalError):
        await asyncio.wait_for(waiting, PATIENCE)

    async def to_the_end() -> None:  # what was there before comes first
        async for _ in events:
            pass

    with pytest.raises(errors.InternalError):
        await asyncio.wait_for(to_the_end(), PATIENCE)


T = TypeVar("T")


async def first(client: Client) -> Event:
    async for happened in client.events(after=client.cursor):
        return happened
    raise AssertionError


async def elsewhere(work: Callable[[], Awaitable[T]]) -> T:
    """Do `work` on a second event loop, in another thread, while this one turns."""

    async def bounded() -> T:
        async with asyncio.timeout(PATIENCE):
            return await work()

    with ThreadPoolExecutor(1) as thread:
        return await asyncio.wrap_future(thread.submit(lambda: asyncio.run(bounded())))


async def test_a_second_loop_is_told_what_to_do(relay: LocalRelay) -> None:
    async with impatient(Client.open(":memory:", relays=[relay.url])) as client:
        group = await client.groups.create("mine")
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: group.send("hello"),
            group.next_message,
            client.sync,
            lambda: first(client),
            client.start,
            client.close,
        ]
        for call in calls:
            with pytest.raises(WrongLoop) as caught:
                await elsewhere(call)
            assert caught.value.code == "wrong_loop"
            assert "run_coroutine_threadsafe" in (caught.value.hint or "")
        # Nothing was harmed, and what waits for nothing may be asked anywhere.
        assert isinstance(group, Group)
        await group.send("hello")
        assert await asyncio.to_thread(lambda: client.stats().events_false) == 0


def test_a_client_whose_loop_has_ended_can_only_be_closed() -> None:
    async def begin() -> tuple[Client, Group]:
        client = impatient(Client.open(":memory:", relays=["ws://127.0.0.1:1"]))
        await client.start()
        return client, await client.groups.create("mine")

    async def go_on() -> None:
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(WrongLoop, match="has ended"):
                await group.next_message()
            await client.close()

    client, group = asyncio.run(begin())
    asyncio.run(go_on())


async def cancel_twice(task: asyncio.Task[Any]) -> None:
    """As a timeout around it does, and then the end of the program."""
    for _ in range(2):
        task.cancel()
        for _ in range(3):
            await asyncio.sleep(0)


def account(folder: Path, relay: LocalRelay) -> Client:
    path = folder / "account" / "mdk.db"
    return impatient(Client.open(path, key=DatabaseKey.raw(KEY), relays=[relay.url]))


async def test_a_start_that_is_cancelled_twice_does_not_leave_the_account_open(
    relay: LocalRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, let_go = threading.Event(), threading.Event()
    first = account(tmp_path, relay)
    open_database = first._open_database

    def slow() -> Any:
        begun.set()
        assert let_go.wait(PATIENCE)
        return open_database()

    monkeypatch.setattr(first, "_open_database", slow)
    starting = asyncio.create_task(first.start())
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    await cancel_twice(starting)
    closing = asyncio.create_task(first.close())
    await asyncio.sleep(0)
    let_go.set()
    await asyncio.wait([starting], timeout=PATIENCE)
    assert starting.cancelled()
    await asyncio.wait_for(closing, PATIENCE)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), PATIENCE)
    async with account(tmp_path, relay) as second:
        assert len(second.groups) == 0


def test_an_event_loop_that_ends_during_a_start_closes_what_was_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It cancels everything, also what waits for others to be cancelled."""
    begun, let_go, closed = threading.Event(), threading.Event(), threading.Event()
    opened = Client.open(":memory:", relays=["wss://relay.example"])

    class Engine:
        def close(self) -> None:
            closed.set()

    def slow() -> Any:
        begun.set()
        assert let_go.wait(PATIENCE)
        return Engine(), (), ()

    monkeypatch.setattr(opened, "_open_database", slow)

    async def main() -> None:
        starting = asyncio.create_task(opened.start())
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        assert not starting.done()

    asyncio.run(main())
    let_go.set()
    assert closed.wait(PATIENCE)


@pytest.mark.parametrize("fails", [True, False])
async def test_what_becomes_of_work_that_is_not_waited_for_is_not_called_lost(fails: bool) -> None:
    lost: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, what: lost.append(what))
    gate, ended = asyncio.Event(), False

    async def work() -> None:
        nonlocal ended
        await gate.wait()
        ended = True
        if fails:
            raise ValueError

    task = asyncio.create_task(upkeep.uncancelled(work()))
    await asyncio.sleep(0)
    await cancel_twice(task)
    assert not task.done()
    gate.set()
    await asyncio.wait([task], timeout=PATIENCE)
    assert task.cancelled()
    assert ended
    del task
    gc.collect()
    assert lost == []
