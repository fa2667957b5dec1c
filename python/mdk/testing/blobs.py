"""A Blossom server on loopback, on the event loop of the test, whose faults can be switched on."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, final

from mdk._mdk import PublicKey, SignedEvent
from mdk.errors import Closed, InvalidEvent, InvalidInput, PortTaken
from mdk.ranges import within

_AUTHORIZATION = 24_242
_CHUNK = 65_536
_MAX_HEAD = 16_384
_DRIP = 0.05


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BlobFaults:
    """What a blob server does wrong. All off by default; they can be combined."""

    refuse: str | None = None
    """Nothing is taken and nothing given; these are its words."""
    wrong_bytes: bool = False
    """The last byte of every blob is another one."""
    slow_bytes: bool = False
    """Blobs come one byte every 50 ms."""
    silent: bool = False
    """It takes requests, and never answers."""
    endless: bool = False
    """A blob has no end."""
    forgets: bool = False
    """It says that it has stored a blob, and has not."""
    redirect: str | None = None
    """Every request is sent on to this URL."""


@dataclass
class _Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class LocalBlossom:
    """A Blossom server (BUD-01, BUD-02) on 127.0.0.1: GET, HEAD and PUT. Use it with `async with`; blobs are in memory.

    Args:
        port: where it listens; 0 takes a free port.
        max_bytes: larger blobs are refused.

    Raises:
        InvalidInput: there is no such port or size; when it is entered: it runs already.
    """

    def __init__(self, *, port: int = 0, max_bytes: int = 104_857_616) -> None:
        self._wanted = within("port", port, 0, 65_535)
        self._max_bytes = within("max_bytes", max_bytes, 0)
        self._server: asyncio.Server | None = None
        self._entered = False
        self._port = 0
        self._faults = BlobFaults()
        self._blobs: dict[str, bytes] = {}
        self._uploaders: list[PublicKey] = []
        self._requests = 0
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        if self._entered:
            # Whoever leaves first would end it for the other.
            raise InvalidInput(
                "the blob server runs already", hint="Enter it once, and hand it to who needs it."
            )
        self._entered = True
        try:
            self._server = await asyncio.start_server(
                self._accept, "127.0.0.1", self._wanted, limit=_MAX_HEAD
            )
        except OSError:
            self._entered = False
            raise PortTaken("the blob server cannot listen on this port") from None
        except BaseException:
            self._entered = False
            raise
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        server, self._server = self._server, None
        self._entered = False
        if server is None:
            return
        server.close()
        connections, self._open = self._open, set()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, for `blossom=`."""
        if self._server is None:
            raise Closed(
                "the blob server is not running",
                hint="Use `async with LocalBlossom() as blobs:`.",
            )
        return f"http://127.0.0.1:{self._port}"

    @property
    def uploaders(self) -> list[PublicKey]:
        """The keys that authorised uploads, one for each that was taken."""
        return list(self._uploaders)

    @property
    def requests(self) -> int:
        """How many requests there were."""
        return self._requests

    def blobs(self) -> dict[str, bytes]:
        """What is stored: blobs by their SHA-256, in lower-case hex."""
        return dict(self._blobs)

    def wipe(self) -> None:
        """Forget every blob."""
        self._blobs.clear()

    def faults(self, faults: BlobFaults | None = None) -> None:
        """Behave like this from now on; None for a good server."""
        self._faults = faults or BlobFaults()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            # Whoever hangs up, or speaks something else, has what it wanted.
            with suppress(OSError, EOFError, ValueError, asyncio.LimitOverrunError):
                request = await self._read(reader)
                self._requests += 1
                async for part in self._answer(request):
                    writer.write(part)
                    await writer.drain()
        finally:
            self._open.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _read(self, reader: asyncio.StreamReader) -> _Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ")
        fields = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        size = int(headers.get("content-length", "0"))
        # What is too large is read as far as it would be taken, so that its sender reads the answer.
        body = b"" if size > self._max_bytes else await reader.readexactly(size)
        return _Request(method, path, headers, body)

    async def _answer(self, request: _Request) -> AsyncIterator[bytes]:
        faults = self._faults
        if faults.silent:
            await asyncio.get_running_loop().create_future()
        if faults.refuse is not None:
            yield _head(403, {"X-Reason": faults.refuse})
        elif faults.redirect is not None:
            yield _head(307, {"Location": faults.redirect})
        elif request.method == "PUT" and request.path == "/upload":
            yield self._take(request)
        elif request.method in {"GET", "HEAD"}:
            async for part in self._give(request):
                yield part
        else:
            yield _head(404, {"X-Reason": "no such place"})

    def _take(self, request: _Request) -> bytes:
        if int(request.headers.get("content-length", "0")) > self._max_bytes:
            return _head(413, {"X-Reason": f"at most {self._max_bytes} bytes"})
        name = hashlib.sha256(request.body).hexdigest()
        author, reason = _authorised(request.headers.get("authorization", ""), name)
        if author is None:
            return _head(401, {"X-Reason": reason})
        if not self._faults.forgets:
            self._blobs[name] = request.body
        self._uploaders.append(author)
        size, now = len(request.body), int(datetime.now(UTC).timestamp())
        described = {
            "url": f"{self.url}/{name}",
            "sha256": name,
            "size": size,
            "type": "application/octet-stream",
            "uploaded": now,
        }
        text = json.dumps(described).encode()
        return _head(200, {"Content-Type": "application/json"}, len(text)) + text

    async def _give(self, request: _Request) -> AsyncIterator[bytes]:
        name = request.path.removeprefix("/").partition(".")[0]
        blob = self._blobs.get(name)
        if blob is None:
            yield _head(404, {"X-Reason": "no such blob"})
            return
        if self._faults.endless:
            yield _head(200, {}, None)
            while True:
                yield bytes(_CHUNK)
        yield _head(200, {}, len(blob))
        if request.method == "HEAD":
            return
        if self._faults.wrong_bytes and blob:
            blob = blob[:-1] + bytes([blob[-1] ^ 1])
        if not self._faults.slow_bytes:
            yield blob
            return
        for byte in blob:
            yield bytes([byte])
            await asyncio.sleep(_DRIP)


def _head(status: int, headers: dict[str, str], size: int | None = 0) -> bytes:
    """The head of an answer; without a size, the body ends with the connection."""
    fields = {**headers, "Connection": "close"}
    if size is not None:
        fields["Content-Length"] = str(size)
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} {'OK' if status == 200 else 'No'}\r\n{lines}\r\n".encode()


def _authorised(header: str, name: str) -> tuple[PublicKey | None, str]:
    """Who allows the upload of the blob with this hash (BUD-02); or nobody, and why."""
    scheme, _, text = header.partition(" ")
    if scheme != "Nostr":
        return None, "no authorization"
    try:
        event = SignedEvent.from_json(base64.b64decode(text, validate=True))
    except (ValueError, InvalidEvent):
        return None, "the authorization is no event"
    now = datetime.now(UTC)
    tags = {(tag[0], tag[1]) for tag in event.tags if len(tag) > 1}
    expires = [int(value) for key, value in tags if key == "expiration" and value.isdigit()]
    if event.kind != _AUTHORIZATION or ("t", "upload") not in tags or ("x", name) not in tags:
        return None, "the authorization is for something else"
    if event.created_at > now or not expires or min(expires) < now.timestamp():
        return None, "the authorization is not good now"
    return event.pubkey, ""
