"""The relay of PyPI's nostr-sdk 0.45, in this process: by other people, and it says which events it has (NIP-77).

It has no document (NIP-11), by which a client learns that; a door before it gives one.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from nostr_sdk import LocalRelayBuilder, RateLimit

from mdk.testing import LocalRelay

_DOCUMENT = json.dumps({"name": "naming", "supported_nips": [1, 11, 77]}).encode()
_HEAD = 16_384


class NamingRelay(LocalRelay):
    """That relay with the methods of ours, as far as the tests use them."""

    def __init__(self) -> None:
        super().__init__()
        # (its own limit is 60 events in a minute)
        limit = RateLimit(max_reqs=500, notes_per_minute=100_000)
        self._theirs = LocalRelayBuilder().rate_limit(limit).build()
        self._door: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self._theirs.run()
        self._their_port = urlsplit(str(await self._theirs.url())).port
        self._door = await asyncio.start_server(self._enter, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._door is not None:
            self._door.close()
        self._theirs.shutdown()

    @property
    def url(self) -> str:
        assert self._door is not None
        port: int = self._door.sockets[0].getsockname()[1]
        return f"ws://127.0.0.1:{port}"

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with AsyncExitStack() as stack:
            stack.callback(writer.close)
            head = await reader.readuntil(b"\r\n\r\n")
            if b"application/nostr+json" in head:
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/nostr+json\r\n"
                    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s"
                    % (len(_DOCUMENT), _DOCUMENT)
                )
                await writer.drain()
                return
            back, on = await asyncio.open_connection("127.0.0.1", self._their_port)
            stack.callback(on.close)
            on.write(head)
            ways = [
                asyncio.create_task(_pass(reader, on)),
                asyncio.create_task(_pass(back, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while some := await reader.read(_HEAD):
            writer.write(some)
            await writer.drain()
