"""Which account a command works with, where its key is, and how it is opened."""

import functools
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from click.shell_completion import CompletionItem

from mdk import Client, Config, DatabaseKey, Keys, Mdk
from mdk._mdk import _AccountStore, _open_account
from mdk.client.accounts import data_folder, database_path
from mdk.errors import (
    DatabaseMissing,
    InvalidInput,
    KeyMissing,
    KeyringError,
    KeyringLocked,
    KeyringTimeout,
    KeyringUnavailable,
    KeysMissing,
    VolatileStore,
)
from mdk.values import KeyringStoreName

from . import key_record, keys
from .options import key_option

Command = TypeVar("Command", bound=Callable[..., int])

DEFAULT = "default"


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
        fresh = self.key or keys.KeySource("keyring", "")
        source = fresh if new else key_record.source(self.path, self.key)
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
                f"there is no account {self.name!r} yet",
                hint=f"Make it: mdk init{self.option} --relay wss://…",
            )

    def database(
        self, *, new: bool = False, identity: Keys | None = None, relays: Sequence[str] = ()
    ) -> Callable[[], tuple[Mdk, tuple[str, ...]]]:
        """What opens the engine of the account, without any connection, and finds the account's relays.

        A person is asked for a passphrase at once; the call itself may wait, and is for a thread.
        """
        if not new:
            self._must_exist()
        key = self.database_key(new=new and not self.exists)

        def work() -> tuple[Mdk, tuple[str, ...]]:
            engine = _open_account(self.path, keys=identity, key=key, config=Config(), clock=None)
            store = _AccountStore(engine)
            try:
                if identity is not None:
                    store.keep_keys()
                if relays:
                    store.set_relays(list(relays))
                remembered = tuple(store.relays())
            except BaseException:
                engine.close()
                raise
            return engine, remembered

        return work

    @property
    def option(self) -> str:
        """How the account is named on a command line, with a space before it; nothing for the default one."""
        return "" if self.name == DEFAULT else f" --account {shlex.quote(self.name)}"

    def advise(self, error: KeyringError) -> KeyringError:
        """A keyring's error when an account is made, with what can be done instead: a command that can be pasted."""
        if not self.exists and isinstance(error, _NO_KEYRING):
            here = pasted(f"file:{self.path.parent / 'mdk.key'}")
            error.hint = (
                "Keep the key elsewhere: with --key passphrase, with --key secret:NAME, or in a file, like this: "
                f"{here}"
            )
        elif not self.exists and type(error) is KeyMissing and self.key is not None:
            error.hint = _FIRST.get(self.key.kind, _FIRST["secret"]).format(self.key.value)
        return error


# A new account has no key to put back.
_FIRST = {
    "env": 'Make a key there first, and keep it: export {0}="$(openssl rand -base64 32)".',
    "fd": "Give it 32 random bytes there, and keep them: for example those of `openssl rand -base64 32`.",
    "secret": "Make one there first: 32 random bytes, for example those of `openssl rand -base64 32`.",
}
_NO_KEYRING = (KeyringUnavailable, KeyringLocked, KeyringTimeout, VolatileStore)


def pasted(key: str) -> str:
    """The command that was given, as a line for a shell, with another `--key`."""
    context = click.get_current_context(silent=True)
    given = context.obj if context is not None and context.obj is not None else ["init"]
    kept: list[str] = []
    words = iter(given)
    for word in words:
        if word == "--key":
            next(words, None)
        elif not word.startswith("--key="):
            kept.append(word)
    return shlex.join([*_program(), *kept, "--key", key])


def _program() -> list[str]:
    """How this program was called."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return [sys.executable, "-m", "mdk"]
    found = shutil.which("mdk")
    if called.stem != "mdk" or (found is not None and Path(found).resolve() == called.resolve()):
        return ["mdk"]
    return [str(called)]


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
    except (OSError, InvalidInput):
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
        without="Without it, where it was put when the account was made; for a new one the keyring.",
        env="MDK_KEY",
    )
    # To click it is the same command, with other arguments.
    return option(key(cast("Command", collected)))
