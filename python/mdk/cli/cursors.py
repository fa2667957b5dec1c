"""How far `mdk listen` is: in a file of the user's, or in the account itself."""

import os
import stat
import time
from pathlib import Path

import click

from mdk import Client, GroupId, Mdk
from mdk.client.feed import position_of
from mdk.errors import InvalidInput, NotARegularFile

_EVERY = 0.5
"""Seconds between two writes into the database while there is much to show: a crash repeats that much."""


class Cursor:
    """A cursor that nobody keeps."""

    def write(self, cursor: str) -> None:
        """Everything up to here was shown."""

    async def settle(self) -> None:
        """Put it on disk, if it is time to."""

    async def keep(self) -> None:
        """Put it on disk."""


class CursorFile(Cursor):
    """A cursor in a file: replaced whole, so that a crash leaves the old one or the new one."""

    def __init__(self, path: Path) -> None:
        self._path: Path = path
        self.hint: str = f"Remove the file to begin anew: {path}"

    def read(self) -> str | None:
        """The cursor; None if there is no file yet.

        Raises:
            NotARegularFile: something else is there.
        """
        try:
            # Before opening, which would wait for the writer of a FIFO.
            is_file = stat.S_ISREG(self._path.stat().st_mode)
            cursor = self._path.read_text(encoding="ascii").strip() if is_file else None
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"the cursor file cannot be read: {error}") from None
        if cursor is None:
            raise NotARegularFile("the cursor file is not a regular file")
        if not cursor:
            raise click.UsageError("the cursor file is empty; remove it to begin anew")
        return cursor

    def write(self, cursor: str) -> None:
        """Write it."""
        part = self._path.with_name(f"{self._path.name}.part")
        try:
            with part.open("w", encoding="ascii") as file:
                file.write(f"{cursor}\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as error:
            # Of the other file nobody has heard.
            raise OSError(error.errno, error.strerror, str(self._path)) from None


def check(client: Client, cursor: str, *, file: CursorFile | None) -> None:
    """Refuse a cursor that cannot be one of this account, before anything is shown or written.

    Raises:
        InvalidInput: it is none, or lies ahead of the account's log.
    """
    hint = "Without --after it goes on where the last one ended." if file is None else file.hint
    try:
        position = position_of(cursor)
    except InvalidInput:
        where = "--after" if file is None else "the cursor file"
        raise InvalidInput(f"{where} holds no cursor", field="cursor", hint=hint) from None
    if position > client._session.store.last_cursor():
        raise InvalidInput("this cursor is not this account's", field="cursor", hint=hint)


class CursorOfAccount(Cursor):
    """A cursor in the account's database, for everything that happens or for one group."""

    def __init__(self, client: Client, group: GroupId | None) -> None:
        self._client: Client = client
        self._group: GroupId | None = group
        self._new: str | None = None
        self._written_at: float = 0.0

    async def last(self) -> str | None:
        """Where the last one ended; None if there was none."""
        store = self._client._session.store

        def read(_: Mdk) -> str | None:
            at = store.listen_cursor(self._group)
            return None if at is None else str(at)

        return await self._client._session.look(read)

    def write(self, cursor: str) -> None:
        """Remember it for settle() and keep()."""
        self._new = cursor

    async def settle(self) -> None:
        """Put it on disk, if the last time is long enough ago."""
        if time.monotonic() - self._written_at >= _EVERY:
            await self.keep()

    async def keep(self) -> None:
        """Put it on disk."""
        cursor, self._new = self._new, None
        if cursor is not None:
            store = self._client._session.store
            await self._client._session.look(
                lambda _: store.set_listen_cursor(self._group, int(cursor))
            )
            self._written_at = time.monotonic()
