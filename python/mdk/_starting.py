"""Ctrl-C while the command `mdk` starts, or ends: no traceback out of an import, but the words of an interrupt.

Most of what a short command takes goes by before its first line runs. This module is imported before all others, and
does nothing in a program that only uses the package.
"""

import os
import signal
import sys
from types import FrameType

_CODE = 130
_WORDS = b"mdk: interrupted\n"
_DOCUMENT = (
    b'{"error":{"code":"interrupted","message":"interrupted","hint":null},"exit_code":130}\n'
)
_taken = False


def _is_command() -> bool:
    """Whether this process is `mdk` or `python -m mdk`."""
    called: list[str] = getattr(sys, "argv", [])
    if not called:
        return False
    if called[0] == "-m":
        # What stands for the module is the word before its arguments.
        return sys.orig_argv[-len(called)] == "mdk"
    if os.path.basename(called[0]) != "mdk":  # noqa: PTH119  # pathlib takes longer than all of this
        return False
    try:
        # A program of somebody else may have the same name.
        with open(called[0], "rb") as script:  # noqa: PTH123
            return b"mdk.cli" in script.read(4096)
    except OSError:
        return False


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    try:
        if "--json" in sys.argv:
            os.write(1, _DOCUMENT)
        os.write(2, _WORDS)
    except OSError:
        pass  # nobody reads it
    os._exit(_CODE)


def over() -> None:
    """The command runs: from here on Ctrl-C is a KeyboardInterrupt."""
    if _taken:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def done(code: int) -> None:
    """The command has run, and all is written: Ctrl-C ends the process now, and changes nothing about its code."""
    if _taken:
        signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(code))


# Whoever runs it in the background may have turned Ctrl-C off.
if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    try:
        signal.signal(signal.SIGINT, _interrupted)
        _taken = True
    except ValueError:
        pass  # not the main thread
