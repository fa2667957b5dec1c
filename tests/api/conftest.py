"""Accounts for the tests of the Python API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from mdk import Config, DatabaseKey, GroupId, Keys, Mdk
from mdk.testing import Clock

RELAYS = ["wss://relay.example"]


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def alice(clock: Clock) -> Iterator[Mdk]:
    with Mdk.in_memory(clock=clock) as mdk:
        yield mdk


@pytest.fixture
def bob(clock: Clock) -> Iterator[Mdk]:
    with Mdk.in_memory(clock=clock) as mdk:
        yield mdk


@pytest.fixture
def carol(clock: Clock) -> Iterator[Mdk]:
    with Mdk.in_memory(clock=clock, config=Config(max_message_bytes=1024)) as mdk:
        yield mdk


@pytest.fixture
def meet() -> Callable[..., GroupId]:
    """`meet(alice, bob, …)`: a group of all, founded by the first."""

    def found(founder: Mdk, *others: Mdk) -> GroupId:
        packages = [other.new_key_package(relays=RELAYS) for other in others]
        with founder.create_group("Lunch", members=packages, relays=RELAYS) as pending:
            welcomes = pending.welcomes
            group = pending.confirm()
        for other in others:
            for welcome in welcomes:
                other.process(welcome)
            (invite,) = other.invites()
            other.accept(invite.id)
        return group.id

    return found


@pytest.fixture
def pair(alice: Mdk, bob: Mdk, meet: Callable[..., GroupId]) -> GroupId:
    return meet(alice, bob)


@pytest.fixture
def reopened(tmp_path: Path, clock: Clock) -> Callable[[], Mdk]:
    """`reopened()`: an account on disk, the same one each time."""
    path, key = tmp_path / "account" / "mdk.db", DatabaseKey.raw(bytes(range(32)))
    return partial(Mdk.open, path, keys=Keys.generate(), key=key, clock=clock)
