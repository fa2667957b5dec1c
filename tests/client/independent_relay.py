"""PyPI's nostr-relay 1.14 as a subprocess on loopback, with a file database.

It differs from the embedded relay in what tests of a client ought to meet: it knows no NIP-42 unless it is switched on,
announces no limits (NIP-11), refuses with an OK for the empty event id, and is slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from mdk import SignedEvent
from mdk.testing import LocalRelay

MAX_EVENT_SIZE = 1_048_576
"""Characters of `content`; its own default is 4,096."""
START = 30.0
"""Longest wait for its start, seconds: it takes two on an idle machine."""
STOP = 5.0
LOOK_EVERY = 0.02

# It ends with the tests, however they end: the pipe that is its standard input closes.
_SERVE = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
from nostr_relay.cli import main
main()
"""


class Process:
    """Starts, stops and restarts the relay on one port; its database file stays."""

    def __init__(self, folder: Path, *, max_event_size: int = MAX_EVENT_SIZE) -> None:
        self.folder = folder
        self.max_event_size = max_event_size
        self.database = folder / "relay.sqlite3"
        # Held for its life, as while the relay is away another program could get it, or a client that dials this port
        # again and again could be connected to itself. It is bound without listening: the relay can bind it as well.
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind(("127.0.0.1", 0))
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        number: int = self._port.getsockname()[1]
        return number

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it accepts connections."""
        if self._running is not None:
            return
        port = self.port
        config = self.folder / "config.json"  # JSON is YAML
        config.write_text(json.dumps(self._config(port)), encoding="utf-8")
        log = self.folder / "log"
        with log.open("ab") as output:
            running = subprocess.Popen(
                [
                    sys.executable,
                    "-W",
                    "ignore",
                    "-c",
                    _SERVE,
                    "-c",
                    config,
                    "serve",
                    "--use-uvicorn",
                ],
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                break
            if running.poll() is not None or time.monotonic() > deadline:
                _end(running)
                words = log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise RuntimeError(f"nostr-relay did not start:\n{words}")
            time.sleep(LOOK_EVERY)
        self._running = running

    def _config(self, port: int) -> dict[str, object]:
        return {
            "relay_name": "independent",
            "storage": {
                "sqlalchemy.url": f"sqlite+aiosqlite:///{self.database}",
                # Those of its own default configuration.
                "validators": [
                    "nostr_relay.validators.is_not_too_large",
                    "nostr_relay.validators.is_signed",
                    "nostr_relay.validators.is_recent",
                    "nostr_relay.validators.is_not_hellthread",
                ],
            },
            "max_event_size": self.max_event_size,
            "gunicorn": {"bind": f"127.0.0.1:{port}", "loglevel": "warning"},
        }

    def stop(self) -> None:
        if self._running is not None:
            _end(self._running)
            self._running = None

    def close(self) -> None:
        self.stop()
        self._port.close()

    @property
    def is_up(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def rows(self, statement: str, *arguments: object) -> list[tuple[object, ...]]:
        """Asks or changes its database behind its back."""
        with (
            contextlib.closing(sqlite3.connect(self.database, timeout=10.0)) as connection,
            connection,
        ):
            return connection.execute(statement, arguments).fetchall()


def _end(running: subprocess.Popen[bytes]) -> None:
    with running:  # closes the pipe and reaps
        running.terminate()
        try:
            running.wait(STOP)
        except subprocess.TimeoutExpired:  # it waits for its clients
            running.kill()


class IndependentRelay(LocalRelay):
    """The other relay with the methods of ours, as far as the tests use them."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self.process = process

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.process.start)
        # It stores what clients of an earlier test said last when it comes to that.
        async with asyncio.timeout(START):
            while self._forget():  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """It goes on for the next test."""

    @property
    def url(self) -> str:
        return self.process.url

    async def pause(self) -> None:
        await asyncio.to_thread(self.process.stop)

    async def resume(self) -> None:
        await asyncio.to_thread(self.process.start)

    async def cut(self) -> None:
        await self.pause()
        await self.resume()

    async def wipe(self) -> None:
        up = self.process.is_up
        await self.pause()
        self._forget()
        if up:
            await self.resume()

    def _forget(self) -> bool:
        """Empties it; returns whether there was anything."""
        ((before,),) = self.process.rows("SELECT count(*) FROM events")
        for table in ("tags", "events"):
            self.process.rows(f"DELETE FROM {table}")
        return before != 0

    def count(self, kind: int) -> int:
        ((count,),) = self.process.rows("SELECT count(*) FROM events WHERE kind = ?", kind)
        assert isinstance(count, int)
        return count

    def events(self, kind: int) -> list[SignedEvent]:
        names = ("id", "pubkey", "created_at", "kind", "tags", "content", "sig")
        rows = self.process.rows(
            f"SELECT {', '.join(names)} FROM events WHERE kind = ? ORDER BY rowid",
            kind,
        )
        found: list[SignedEvent] = []
        for row in rows:
            event = dict(zip(names, row, strict=True))
            event["tags"] = json.loads(str(event["tags"]))
            for name in ("id", "pubkey", "sig"):
                value = event[name]
                assert isinstance(value, bytes)
                event[name] = value.hex()
            found.append(SignedEvent.from_json(json.dumps(event)))
        return found

    async def until(self, condition: Callable[[LocalRelay], bool], timeout: float = 10.0) -> None:
        async with asyncio.timeout(timeout):
            # It tells nobody when something is stored.
            while not condition(self):  # noqa: ASYNC110
                await asyncio.sleep(LOOK_EVERY)
