"""Options that several commands share."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from mdk.errors import InvalidInput
from mdk.paths import expanded

from .keys import FORMS, KeyType

Command = TypeVar("Command", bound=Callable[..., int])


class UserPath(click.Path):
    """A path, with the home folder that `~` at its beginning stands for: in `--option=~/file` no shell sees it."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """Understand one."""
        try:
            path = expanded("path", value)
        except InvalidInput as error:
            self.fail(f"{error}. {error.hint}", param, ctx)
        return Path(os.fsdecode(super().convert(path, param, ctx)))


# What may not be read is no mistake of the command line: the call says what to do about it.
PATH: click.Path = UserPath(path_type=Path, readable=False)


class Seconds(click.FloatRange):
    """A time that ends."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Understand one. `nan` is in every range, and `inf` in those without an end."""
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return seconds


def _stack(function: Command, *options: Callable[[Any], Any]) -> Command:
    for option in reversed(options):
        function = option(function)
    return function


def json_option(function: Command) -> Command:
    """`--json`."""
    help_ = "One JSON document on stdout."
    return _stack(function, click.option("--json", "as_json", is_flag=True, help=help_))


RECORDED = "Without it, where it was put when the database was made."


def new_key_option(function: Command) -> Command:
    """`--key` and what belongs to it, for the key that a new database gets."""
    return key_option(without="", default="keyring")(function)


def key_option(
    *, without: str, default: str | None = None, env: str | None = None
) -> Callable[[Command], Command]:
    """`--key` and what belongs to it. `without` says what happens if it is not given."""
    text = f"Where the key is: {FORMS}. {without}".rstrip()
    if env is not None:
        text += f"  [env: {env}]"

    def decorate(function: Command) -> Command:
        return _stack(
            function,
            click.option(
                "--key",
                type=KeyType(),
                default=default,
                show_default=default is not None,
                envvar=env,
                help=text,
            ),
            click.option(
                "--passphrase-fd",
                type=click.IntRange(min=0),
                metavar="N",
                help="Read the passphrase of `--key passphrase` from this file descriptor.",
            ),
            click.option(
                "--keyring-store",
                type=click.Choice(
                    ["platform", "secret-service", "keyutils", "keychain", "credential-manager"]
                ),
                help="Which keyring.  [default: platform]",
            ),
            click.option(
                "--keyring-timeout",
                type=Seconds(min=0, max=3600, min_open=True),
                default=10.0,
                show_default=True,
                metavar="SECONDS",
                help="How long to wait for the keyring.",
            ),
            click.option(
                "--allow-volatile",
                is_flag=True,
                help="Accept a keyring that forgets its keys when the machine restarts.",
            ),
        )

    return decorate


def other_key_option(name: str, text: str, *, default: str | None) -> Callable[[Command], Command]:
    """A second key of a command, with the descriptor of its passphrase."""

    def decorate(function: Command) -> Command:
        return _stack(
            function,
            click.option(
                name, type=KeyType(), default=default, show_default=default is not None, help=text
            ),
            click.option(
                f"{name}-passphrase-fd",
                type=click.IntRange(min=0),
                metavar="N",
                help=f"Read the passphrase of `{name} passphrase` from this file descriptor.",
            ),
        )

    return decorate


def backup_passphrase_option(function: Command) -> Command:
    """The descriptor of the passphrase of a backup."""
    return _stack(
        function,
        click.option(
            "--backup-passphrase-fd",
            type=click.IntRange(min=0),
            metavar="N",
            help="Read the passphrase of the backup from this file descriptor.",
        ),
    )


def patience_option(seconds: float) -> Callable[[Command], Command]:
    """`--timeout`: how long relays are waited for."""

    def decorate(function: Command) -> Command:
        return _stack(
            function,
            click.option(
                "--timeout",
                type=Seconds(min=0, max=86_400),
                default=seconds,
                show_default=True,
                metavar="SECONDS",
                help="How long to wait for relays.",
            ),
        )

    return decorate


def sync_option(function: Command) -> Command:
    """`--sync`: fetch what is new before showing what is there."""
    help_ = "Fetch what is new from the relays first; without it no connection is made."
    return _stack(function, click.option("--sync", is_flag=True, help=help_))
