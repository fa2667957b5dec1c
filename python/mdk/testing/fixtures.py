"""Fixtures for pytest: put `pytest_plugins = ["mdk.testing.fixtures"]` into conftest.py. They need pytest-asyncio.

- `relay`: a running LocalRelay.
- `blobs`: a running LocalBlossom.
- `make_client`: `await make_client("alice")` gives a started client of that relay; all are closed at the end.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest_asyncio

from mdk.client import Client

from .blobs import LocalBlossom
from .clients import client
from .relay import LocalRelay


class MakeClient(Protocol):
    """Makes a started client; takes what `mdk.testing.client` takes behind the relay."""

    async def __call__(self, name: str = "test", **options: Any) -> Client:
        """A started client."""
        ...


@pytest_asyncio.fixture
async def relay() -> AsyncIterator[LocalRelay]:
    """A running relay."""
    async with LocalRelay() as running:
        yield running


@pytest_asyncio.fixture
async def blobs() -> AsyncIterator[LocalBlossom]:
    """A running file server."""
    async with LocalBlossom() as running:
        yield running


@pytest_asyncio.fixture
async def make_client(relay: LocalRelay) -> AsyncIterator[MakeClient]:
    """Makes started clients of `relay`, and closes them."""
    made: list[Client] = []

    async def make(name: str = "test", **options: Any) -> Client:
        made.append(await client(relay, name, **options))
        return made[-1]

    yield make
    await asyncio.gather(*(one.close() for one in made))
