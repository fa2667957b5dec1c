"""Whoever interrupts at the prompt for a key interrupts the program. A key that is refused is wiped as well."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mdk import DatabaseKey, Keys, Mdk, errors, vault


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_key_callback_is_one(raised: type[BaseException], tmp_path: Path) -> None:
    def prompt() -> bytes:
        raise raised("at the prompt")

    path, keys = tmp_path / "a" / "m.db", Keys.generate()
    with pytest.raises(raised, match="at the prompt"):
        Mdk.open(path, keys=keys, key=DatabaseKey.callback(prompt))
    assert not path.exists()
    Mdk.open(path, keys=keys, key=DatabaseKey.raw(b"k" * 32)).close()
    with pytest.raises(raised, match="at the prompt"):
        vault.verify(path, key=DatabaseKey.callback(prompt))


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.parametrize("call", ["open", "verify"])
def test_an_interrupt_ends_the_wait_for_a_key_from_a_descriptor(call: str, tmp_path: Path) -> None:
    path, keys = tmp_path / "a" / "m.db", Keys.generate()
    Mdk.open(path, keys=keys, key=DatabaseKey.raw(b"k" * 32)).close()
    reads, writes = os.pipe()
    writer = os.fdopen(writes, "wb", buffering=0)
    key = DatabaseKey.from_fd(reads)
    calls: dict[str, Callable[[], object]] = {
        "open": lambda: Mdk.open(path, keys=keys, key=key),
        "verify": lambda: vault.verify(path, key=key),
    }
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timers = [
        threading.Timer(0.5, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]),
        # If it goes on waiting.
        threading.Timer(60, writer.close),
    ]

    def interrupted() -> None:
        for timer in timers:
            timer.start()
        calls[call]()

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert not writer.closed, "it waited for the descriptor's end"
    finally:
        signal.signal(signal.SIGINT, before)
        for timer in timers:
            timer.cancel()
            timer.join()
        writer.close()
    Mdk.open(path, keys=keys, key=DatabaseKey.raw(b"k" * 32)).close()


def test_a_path_with_nul_is_an_argument() -> None:
    for call in (
        lambda: Mdk.open("a\0b", keys=Keys.generate(), key=DatabaseKey.raw(b"k" * 32)),
        lambda: vault.verify("a\0b", key=DatabaseKey.raw(b"k" * 32)),
    ):
        with pytest.raises(errors.InvalidInput) as caught:
            call()
        assert caught.value.field == "path"
