"""Where keys and passphrases come from on the command line. Neither ever stands on it: others can read it."""

import getpass
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from mdk import DatabaseKey
from mdk.errors import InvalidInput
from mdk.paths import expanded
from mdk.values import KeyringStoreName

FORMS = "keyring[:SERVICE[/ID]], file:PATH, fd:N, secret:NAME, env:NAME, or passphrase"
# More is no passphrase; one byte is kept for the line end.
_MAX_PASSPHRASE = 1026


@dataclass(frozen=True)
class KeySource:
    """A `--key` that was understood, before anybody was asked for a passphrase."""

    kind: str
    value: str
    store: KeyringStoreName | None = None
    """The keyring that is recorded for it: it was accepted when the key was put there."""
    descriptor: DatabaseKey | None = None
    """What was open under that number when the options were read: later the program has files of its own."""


# Older versions of click cannot be subscripted.
if TYPE_CHECKING:
    _ParamType = click.ParamType[KeySource]
else:
    _ParamType = click.ParamType


class KeyType(_ParamType):
    """The type of `--key`."""

    name = "key"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> KeySource:
        """Understand one form of `--key`."""
        if isinstance(value, KeySource):
            return value
        kind, colon, rest = str(value).partition(":")
        match kind, bool(rest):
            case ("keyring", _) if bool(rest) == bool(colon):
                pass
            case ("file" | "secret" | "env", True):
                pass
            case ("fd", True) if rest.isdecimal():
                pass
            case ("passphrase", False) if not colon:
                pass
            case _:
                # The text is not repeated: somebody may have put a key there.
                self.fail(f"one of: {FORMS}", param, ctx)
        try:
            descriptor = DatabaseKey.from_fd(int(rest)) if kind == "fd" else None
            if kind == "keyring":
                # What it names is judged now, and not before it is used only.
                DatabaseKey.keyring(*_service(rest), key_id=_key_id(rest))
            if kind == "file":
                rest = str(expanded("file", rest))
        except InvalidInput as error:
            self.fail(str(error), param, ctx)
        return KeySource(kind, rest, descriptor=descriptor)


@dataclass(frozen=True)
class KeyringOptions:
    """What applies to every keyring of a command."""

    store: KeyringStoreName | None
    timeout: float
    allow_volatile: bool


def _service(value: str) -> tuple[str, ...]:
    """The service of a keyring, if something is named: an empty name is one, and is refused."""
    return (value.partition("/")[0],) if value else ()


def _key_id(value: str) -> str | None:
    _, slash, key_id = value.partition("/")
    return key_id if slash else None


def read_fd(number: int) -> bytearray:
    """All that a file descriptor holds, without its line end, in memory that can be wiped."""
    data = bytearray()
    try:
        while len(data) <= _MAX_PASSPHRASE:
            block = os.read(number, 1024)
            if not block:
                break
            data += block
    except OSError as error:
        message = f"file descriptor {number} cannot be read: {error.strerror}"
        raise click.UsageError(message) from None
    if data.endswith(b"\n"):
        del data[-1:]
    if data.endswith(b"\r"):
        del data[-1:]
    return data


def passphrase(what: str, fd: int | None, *, option: str, new: bool = False) -> str | bytearray:
    """A passphrase from a descriptor, or from the person at the terminal; a new one is asked for twice."""
    if fd is not None:
        return read_fd(fd)
    if not sys.stdin.isatty():
        message = f"there is no terminal to ask for the {what}: give {option}"
        raise click.UsageError(message)
    while True:
        text = _ask(f"{what[:1].upper()}{what[1:]}: ")
        if not text:
            click.echo("It cannot be empty.", err=True)
        elif not new or _ask("The same again: ") == text:
            return text
        else:
            click.echo("The two are not the same.", err=True)


def _ask(question: str) -> str:
    # Python's own: it turns the echo off before it asks, so nothing is shown of what is typed ahead.
    try:
        return getpass.getpass(question)
    except EOFError:
        raise click.Abort from None


def resolve(
    source: KeySource, keyring: KeyringOptions, fd: int | None, *, option: str, new: bool = False
) -> DatabaseKey:
    """The key of the database, which is not read before it is needed."""
    match source.kind:
        case "keyring":
            return DatabaseKey.keyring(
                *_service(source.value),
                key_id=_key_id(source.value),
                store=keyring.store or source.store,
                allow_volatile=keyring.allow_volatile or source.store == "keyutils",
                timeout=keyring.timeout,
            )
        case "file":
            return DatabaseKey.from_file(source.value)
        case "fd":
            return source.descriptor or DatabaseKey.from_fd(int(source.value))
        case "secret":
            return DatabaseKey.from_secret(source.value)
        case "env":
            return DatabaseKey.from_env(source.value)
        case _:
            what = "new passphrase of the database" if new else "passphrase of the database"
            text = passphrase(what, fd, option=option, new=new)
            return DatabaseKey.passphrase(text, wipe=isinstance(text, bytearray))
