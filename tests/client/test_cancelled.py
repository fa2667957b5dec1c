"""What is left of a call that is cancelled again while it comes to its end."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.client.people import KEY, PATIENCE

from mdk import Client, DatabaseKey
from mdk.client import upkeep
from mdk.testing import LocalRelay
from mdk.testing.clients import impatient


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
