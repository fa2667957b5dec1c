"""Which file an account's name stands for."""

import os
import re
import sys
from pathlib import Path

from mdk.errors import InvalidInput
from mdk.paths import expanded
from mdk.values import PathArg

MEMORY = ":memory:"
_LONGEST = 64
"""Characters of a name."""
_NAME = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9._-]{{0,{_LONGEST - 1}}}")


def data_folder() -> Path:
    r"""Folder of this user's accounts: one subfolder each.

    `$XDG_DATA_HOME/mdk` (usually `~/.local/share/mdk`); on macOS `~/Library/Application Support/mdk`, on Windows
    `%LOCALAPPDATA%\mdk`.

    Raises:
        InvalidInput: nothing says where this user's files are.
    """
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return (Path(base) if base else _home() / "AppData" / "Local") / "mdk"
    if sys.platform == "darwin":
        return _home() / "Library" / "Application Support" / "mdk"
    base = os.environ.get("XDG_DATA_HOME")
    # A relative one is to be ignored, says the specification of these folders.
    given = Path(base) if base else None
    return (given if given and given.is_absolute() else _home() / ".local" / "share") / "mdk"


def _home() -> Path:
    try:
        return Path.home()
    # A user id without an entry among the users, as in a container, and no HOME.
    except RuntimeError as error:
        raise InvalidInput(
            "account: no home folder is known",
            field="account",
            hint="Set HOME, or give the account as an absolute path.",
        ) from error


def database_path(account: PathArg) -> Path | None:
    """The database of an account: None for `:memory:`.

    A plain name (letters, digits, `.`, `_`, `-`; at most 64) stands for NAME/mdk.db in the data folder. Anything with a
    separator, and a name that ends in `.db`, is a path, and `~` at its beginning the user's home folder.

    Raises:
        InvalidInput: neither.
    """
    if not isinstance(account, str):
        return expanded("account", account)
    if account == MEMORY:
        return None
    separators = [os.sep, *([os.altsep] if os.altsep else [])]
    if account.endswith(".db") or any(separator in account for separator in separators):
        return expanded("account", account)
    if len(account) > _LONGEST and _NAME.fullmatch(account[:_LONGEST]):
        raise InvalidInput(
            f"account: too long (limit {_LONGEST}, got {len(account)})",
            field="account",
            limit=_LONGEST,
            value=len(account),
        )
    if not account:
        raise InvalidInput("account: empty", field="account", limit=1, value=0)
    if not _NAME.fullmatch(account):
        raise InvalidInput(
            "account: neither a name nor a path",
            field="account",
            hint="A name has up to 64 letters, digits, '.', '_' and '-', and begins with none of '.'.",
        )
    return data_folder() / account / "mdk.db"
