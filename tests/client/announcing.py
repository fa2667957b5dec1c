"""A relay that announces limits of its own (NIP-11), in front of another one that takes everything."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from mdk.testing import LocalRelay


@contextlib.asynccontextmanager
async def announcing(relay: LocalRelay, **limits: int) -> AsyncIterator[str]:
    """The address of one that says this of itself, and hands on whatever else is asked and said."""
    document = json.dumps({"name": "announcing", "limitation": limits})
    answer = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/nostr+json\r\n"
        f"Content-Length: {len(document)}\r\nConnection: close\r\n\r\n{document}"
    )
    _, _, port = relay.url.rstrip("/").rpartition(":")

    async def pass_on(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                to.write(data)
                await to.drain()
        to.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"application/nostr+json" in head:
            writer.write(answer.encode())
            writer.close()
            return
        inside, outside = await asyncio.open_connection("127.0.0.1", int(port))
        outside.write(head)
        await asyncio.gather(pass_on(reader, outside), pass_on(inside, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
