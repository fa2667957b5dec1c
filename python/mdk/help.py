"""What `/help` answers, out of what handlers of commands say of themselves."""

import functools
import inspect
from collections.abc import Iterable
from typing import Any

from .routers import Command

NAME = "help"


def listed(commands: Iterable[Command], prefix: str, *, is_admin: bool) -> str:
    """The commands that somebody may call, a line each; empty if there is none.

    Args:
        commands: of the bot, also several times and in the order of the list.
        prefix: what commands begin with.
        is_admin: whether who asks is an admin of the group.
    """
    # A command stands there under each of its names.
    each = {id(command): command for command in commands}.values()
    return "\n".join(
        _line(command, prefix)
        for command in each
        if not command.hidden and (is_admin or not command.admin_only)
    )


def _line(command: Command, prefix: str) -> str:
    usage = command.handler.usage(prefix + command.names[0])
    about = _first_line(command.handler.handler)
    return f"{usage} – {about}" if about else usage


def _first_line(handler: Any) -> str:
    while isinstance(handler, functools.partial):
        # What it says is what a partial function is.
        handler = handler.func
    return (inspect.getdoc(handler) or "").partition("\n")[0].strip()
