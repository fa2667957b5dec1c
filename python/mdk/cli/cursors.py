"""How far `mdk listen` is: in a file of the user's, or in the account itself."""

import os
import time
from pathlib import Path

import click

from mdk import Client, GroupId, Mdk

_KEY = "cli/listen/"
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

    def read(self) -> str | None:
        """The cursor; None if there is no file yet."""
        try:
            cursor = self._path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"the cursor file cannot be read: {error}") from None
        if not cursor:
            raise click.UsageError("the cursor file is empty; remove it to begin anew")
        return cursor

    def write(self, cursor: str) -> None:
        """Write it."""
        part = self._path.with_name(f"{self._path.name}.part")
        with part.open("w", encoding="ascii") as file:
            file.write(f"{cursor}\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)


class CursorOfAccount(Cursor):
    """A cursor in the account's database, for everything that happens or for one group."""

    def __init__(self, client: Client, group: GroupId | None) -> None:
        self._client: Client = client
        self._key: str = f"{_KEY}{group or ''}"
        self._new: str | None = None
        self._written_at: float = 0.0

    async def last(self) -> str | None:
        """Where the last one ended; None if there was none."""

        def read(mdk: Mdk) -> str | None:
            value = mdk._state(self._key)
            # What was salvaged from a damaged database may have lost the end of its log.
            return None if value is None else str(min(int(value), mdk._last_cursor()))

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
            value = cursor.encode("ascii")
            await self._client._session.look(lambda mdk: mdk._set_state(self._key, value))
            self._written_at = time.monotonic()
