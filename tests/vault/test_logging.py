"""What `logging` hears, and when. That nothing private is in it: test_log_lines.py."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from tests.vault.kit import python, succeeded
from tests.vault.log_lines import TRACE, listening

from mdk import DatabaseKey, Keys, Mdk


def test_levels_are_honoured_at_once() -> None:
    # With this comes what a client of an earlier test has left to be told.
    Mdk.in_memory().close()

    def said(name: str, level: int) -> bool:
        """Whether the warning of an account in memory is heard."""
        heard.lines.clear()
        logging.getLogger(name).setLevel(level)
        Mdk.in_memory().close()
        return any("not encrypted" in line for line in heard.lines)

    with listening() as heard:
        assert said("mdk", TRACE)
        assert not said("mdk", logging.CRITICAL)
        assert heard.lines == []
        assert said("mdk", logging.WARNING)
        assert {line.split()[0] for line in heard.lines} == {"WARNING"}
        assert not said("mdk.store", logging.ERROR)
        assert said("mdk.store", logging.NOTSET)
        logging.disable(logging.CRITICAL)
        try:
            assert not said("mdk", TRACE)
        finally:
            logging.disable(logging.NOTSET)


class Busybody(logging.Handler):
    """A handler that uses the account it is told about, and another one."""

    def __init__(self, accounts: list[Mdk]) -> None:
        super().__init__(level=0)
        self.accounts = accounts
        self.calls = 0

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        self.calls += 1
        for account in self.accounts:
            account.groups()


def test_a_handler_may_use_the_account(tmp_path: Path) -> None:
    key = DatabaseKey.raw(bytes(32))
    accounts = [
        Mdk.open(tmp_path / name / "mdk.db", keys=Keys.generate(), key=key) for name in ("a", "b")
    ]
    handler = Busybody(accounts)
    logger = logging.getLogger("mdk")
    logger.addHandler(handler)
    logger.setLevel(TRACE)
    try:

        def work(account: Mdk) -> None:
            for _ in range(15):
                account.new_key_package(relays=["wss://relay.example"])
                account.process("{")

        threads = [threading.Thread(target=work, args=(a,)) for a in accounts * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=200)
        assert not any(thread.is_alive() for thread in threads), "a deadlock"
        assert handler.calls > 0
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        for account in accounts:
            account.close()


# In a process of its own: the warning that it waits for is given once.
INTERRUPTED = """
import logging
import mdk

class Raising(logging.Filter):
    def filter(self, record):
        raise KeyboardInterrupt

refuse = Raising()
logging.getLogger("mdk.store").addFilter(refuse)
try:
    mdk.Mdk.in_memory()
    for _ in range(1000):
        pass
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_in_a_handler_reaches_the_caller() -> None:
    assert succeeded(python(INTERRUPTED)) == "interrupted\n"


SILENT = """
import sys
from pathlib import Path
import mdk
folder = Path(sys.argv[1])
key = mdk.DatabaseKey.raw(bytes(range(32)))
mdk.Mdk.in_memory().close()
mdk.Mdk.open(folder / "a" / "mdk.db", keys=mdk.Keys.generate(), key=key).close()
data = bytearray((folder / "a" / "mdk.db").read_bytes())
data[5000] ^= 1
(folder / "a" / "mdk.db").write_bytes(data)
try:
    mdk.Mdk.open(folder / "a" / "mdk.db", keys=mdk.Keys.generate(), key=key).close()
except mdk.errors.MdkError:
    pass
mdk.vault.verify(folder / "a" / "mdk.db", key=key)
try:
    mdk.vault.verify(folder / "a" / "mdk.db", key=mdk.DatabaseKey.raw(bytes(32)))
except mdk.errors.MdkError:
    pass
"""


# proves: H8
def test_nothing_goes_to_stderr(tmp_path: Path) -> None:
    """SQLCipher complains on stderr of damaged pages and wrong keys, if it is let."""
    done = python(SILENT, tmp_path, env=os.environ | {"RUST_LOG": "trace"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
