"""Paths that a user gives: `~` stands for a home folder, as in a shell."""

import os
from pathlib import Path

from .errors import InvalidInput
from .values import PathArg

HOME_HINT = "Set HOME, or give an absolute path. A file whose name begins with '~' in this folder is ./~NAME."


def expanded(field: str, path: PathArg) -> Path:
    """A path with the home folder that `~` or `~USER` at its beginning stands for. Anywhere else `~` is a letter.

    What comes out does not begin with `~`, so that nobody expands it again.

    Raises:
        InvalidInput: nothing says where that home folder is. TypeError: it is no path.
    """
    text = os.fspath(path)
    # What comes from a program without types may be bytes.
    given: object = text
    if not isinstance(given, str):
        raise TypeError(f"{field}: {type(given).__name__} instead of a text or a path")
    found = Path(text)
    if text.startswith("~"):
        try:
            return found.expanduser()
        # A user id without an entry among the users, as in a container, and no HOME; or no such user.
        except RuntimeError as error:
            raise InvalidInput(
                f"{field}: no home folder is known for {text!r}", field=field, hint=HOME_HINT
            ) from error
    return here(found)


def here(path: Path) -> Path:
    """A path that is meant as it is written: a folder that is called `~` stays one."""
    return path.absolute() if path.parts[:1] and path.parts[0].startswith("~") else path
