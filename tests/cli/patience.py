"""A program in which no time runs out that nobody has given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mdk.cli.app import app
from mdk.client.opening import Settings

HOUR = 3600.0


def make_patient(change: Callable[[Any, str, Any], None] = setattr) -> None:
    """Make --timeout an hour where it is not given, and so the times that closing and requests get.

    What ends all the same was ended by what the test is about, however slow the machine is.
    """
    for command in app.commands.values():
        for option in command.params:
            if "--timeout" in option.opts:
                change(option, "default", HOUR)
    made = Settings.__init__

    def patient(self: Settings, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        self.drain = self.ask = self.timing["request_timeout"] = HOUR

    change(Settings, "__init__", patient)
