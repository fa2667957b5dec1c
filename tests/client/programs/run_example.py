"""Runs an example as it stands, with names replaced.

Relays and a file server by those on loopback, an npub by a real one, the keyring by a file.

run_example.py EXAMPLE RELAY [NPUB]

With DIES_WRITING in the environment it is killed when it has emptied the first file that it writes.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import mdk
from mdk import client as package

program, relay = Path(sys.argv[1]), sys.argv[2]
npub = sys.argv[3] if len(sys.argv) > 3 else ""


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


text = program.read_text(encoding="utf-8")
text = re.sub(r"wss://relay\.[a-z.]*whitenoise\.chat", relay, text)
text = re.sub(r"npub1q{20,}", npub, text)
text = text.replace("https://blossom.primal.net", os.environ["BLOBS"])
text = text.replace("DatabaseKey.keyring()", "DatabaseKey.from_file('restored.key')")
# Whoever runs the tests in the background ignores Ctrl-C, and what is ignored is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
if os.environ.get("DIES_WRITING"):
    Path.write_text = cut_short  # type: ignore[assignment,method-assign]
exec(compile(text, str(program), "exec"), {"__name__": "__main__"})
