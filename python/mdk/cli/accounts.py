"""Which account a command works with, where its key is, and how it is opened."""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from click.shell_completion import CompletionItem

from mdk import Client, Config, DatabaseKey, Keys, Mdk
from mdk.client.accounts import data_folder, database_path
from mdk.errors import DatabaseMissing, KeyringError, KeysMissing
from mdk.values import KeyringStoreName

from . import keys
from .options import key_option

Command = TypeVar("Command", bound=Callable[..., int])

DEFAULT = "default"
RELAYS = "relays"
"""Where the client keeps the account's own relays, in the state beside the engine's."""
_SOURCES = ("keyring", "file", "secret", "env", "passphrase")


@dataclass(frozen=True)
class Account:
    """What `--account` and the options of its key say."""

    name: str
    key: keys.KeySource | None
    keyring: keys.KeyringOptions
    passphrase_fd: int | None

    @property
    def path(self) -> Path:
        """Its database. A name without a folder stands for one in the user's data folder."""
        path = database_path(self.name)
        if path is None:
            raise click.UsageError(
                "an account in memory ends with the command: give a name or a path"
            )
        return path / "mdk.db" if path.is_dir() else path

    @property
    def exists(self) -> bool:
        """Whether there is such an account."""
        return self.path.exists()

    def database_key(self, *, new: bool = False) -> DatabaseKey:
        """Where the options, or what is recorded beside the database, say that the key is."""
        source = self.key or (None if new else recorded(self.path)) or keys.KeySource("keyring", "")
        return keys.resolve(
            source, self.keyring, self.passphrase_fd, option="--passphrase-fd", new=new
        )

    def client(
        self,
        *,
        new: bool = False,
        identity: Keys | None = None,
        relays: Sequence[str] = (),
        blossom: Sequence[str] = (),
        name: str | None = None,
    ) -> Client:
        """The account, not connected yet.

        Raises:
            DatabaseMissing: there is no such account, and `new` is not set.
        """
        if not new:
            self._must_exist()
        return Client.open(
            self.path,
            keys=identity,
            key=self.database_key(new=new and not self.exists),
            relays=relays,
            blossom=blossom,
            name=name,
        )

    def _must_exist(self) -> None:
        if not self.exists:
            raise DatabaseMissing(
                f"there is no account {self.name!r} yet", hint=f"Make it: mdk init{self.option}."
            )

    def database(
        self, *, new: bool = False, identity: Keys | None = None, relays: Sequence[str] = ()
    ) -> tuple[Mdk, tuple[str, ...]]:
        """The engine of the account, without any connection, and the account's relays."""
        if not new:
            self._must_exist()
        engine = Mdk._open_account(
            self.path,
            keys=identity,
            key=self.database_key(new=new and not self.exists),
            config=Config(),
            clock=None,
        )
        try:
            if identity is not None:
                engine._keep_keys()
            if relays:
                engine._set_state(RELAYS, json.dumps(relays).encode())
            remembered = engine._state(RELAYS)
        except BaseException:
            engine.close()
            raise
        return engine, tuple(json.loads(remembered)) if remembered else ()

    @property
    def option(self) -> str:
        """How the account is named on a command line, with a space before it; nothing for the default one."""
        return "" if self.name == DEFAULT else f" --account {self.name}"

    def advise(self, error: KeyringError) -> KeyringError:
        """A keyring's error with a hint in words of the command line."""
        place = self.path.parent / "mdk.key"
        error.hint = (
            f"Without a keyring, keep the key in a file: mdk init{self.option} --key file:{place}. "
            "Or use a passphrase (--key passphrase), or a secret of systemd or Docker (--key secret:NAME)."
        )
        return error


def recorded(database: Path) -> keys.KeySource | None:
    """Where the record beside a database says that its key is; None if it does not say or cannot be read."""
    try:
        text = database.with_name(f"{database.name}.keyinfo").read_text(encoding="utf-8")
        slot = json.loads(text)["key"]
        source = str(slot["source"])
        if source not in _SOURCES:
            return None
        match source:
            case "file":
                return keys.KeySource(source, str(slot["path"]))
            case "keyring":
                return keys.KeySource(source, f"{slot['service']}/{slot['key_id']}")
            case "passphrase":
                return keys.KeySource(source, "")
            case _:
                return keys.KeySource(source, str(slot["key_id"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def no_keys(account: Account) -> KeysMissing:
    """The database is one of the engine alone: its keys are elsewhere."""
    return KeysMissing(
        f"the account {account.name!r} does not keep its Nostr keys",
        hint=f"Give them once, they are kept then: mdk init{account.option} --identity-file PATH.",
    )


def names() -> list[str]:
    """The accounts in the user's data folder."""
    try:
        return sorted(
            place.name for place in data_folder().iterdir() if (place / "mdk.db").exists()
        )
    except OSError:
        return []


def _complete(
    _context: click.Context, _option: click.Parameter, begun: str
) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names() if name.startswith(begun)]


def account_options(function: Command) -> Command:
    """`--account`, `--key` and what belongs to it, as one argument `account`."""

    @functools.wraps(function)
    def collected(
        *,
        account: str,
        key: keys.KeySource | None,
        passphrase_fd: int | None,
        keyring_store: KeyringStoreName | None,
        keyring_timeout: float,
        allow_volatile: bool,
        **others: Any,
    ) -> int:
        keyring = keys.KeyringOptions(keyring_store, keyring_timeout, allow_volatile)
        return function(account=Account(account, key, keyring, passphrase_fd), **others)

    option = click.option(
        "-a",
        "--account",
        default=DEFAULT,
        show_default=True,
        envvar="MDK_ACCOUNT",
        metavar="NAME",
        shell_complete=_complete,
        help="Name of the account, or the path of its database.  [env: MDK_ACCOUNT]",
    )
    key = key_option(
        optional=True,
        without="Without it, where it was put when the account was made.",
        env="MDK_KEY",
    )
    # To click it is the same command, with other arguments.
    return option(key(cast("Command", collected)))
