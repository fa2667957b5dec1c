"""The process around a client: a fork, a bug, an end in the middle."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.client.people import PATIENCE

from mdk import _mdk, errors
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
    with pytest.raises(errors.InternalError, match=r"panic at panics\.rs:\d+"):
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
