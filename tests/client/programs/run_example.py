"""Runs a program of the guide with a relay on loopback, and with a file instead of the keyring.

run_example.py PROGRAM RELAY

With DIES_WRITING in the environment it is killed when it has emptied the first file that it writes.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import mdk
from mdk import client as package

program, relay = Path(sys.argv[1]), sys.argv[2]


def key_of(account: object) -> mdk.DatabaseKey | None:
    """There may be no keyring where this runs."""
    return None if account == ":memory:" else mdk.DatabaseKey.from_file(Path(f"{account}.key"))


opened = package.Client.open


def open_with_file(account: Any, **options: Any) -> mdk.Client:
    if options.get("key") is None:
        options["key"] = key_of(account)
    if not options.get("relays") and account != ":memory:":
        options["relays"] = [relay]
    options["config"] = mdk.Config(allow_loopback=True)
    return opened(account, **options)


package.Client.open = open_with_file  # type: ignore[method-assign]


def cut_short(path: Path, *_: Any, **__: Any) -> int:
    path.open("w", encoding="utf-8").close()
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


if os.environ.get("DIES_WRITING"):
    Path.write_text = cut_short  # type: ignore[assignment,method-assign]
exec(compile(program.read_text(encoding="utf-8"), str(program), "exec"), {"__name__": "__main__"})
