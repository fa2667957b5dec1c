"""The doctor tells a key from what has taken its place, without being given it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mdk import DatabaseKey, Keys, Mdk, vault

KEYS = Keys.generate()
PASSPHRASE = "correct horse"


def spoil(text: bytes, how: str) -> bytes:
    if how == "changed":
        return text[:40] + (b"B" if text[40:41] == b"A" else b"A") + text[41:]
    return {"empty": b"", "junk": b"junk", "cut": text[:40]}[how]


# proves: K9
@pytest.mark.parametrize("how", ["empty", "junk", "cut", "changed"])
@pytest.mark.parametrize("kind", ["file", "passphrase"])
def test_a_key_that_was_destroyed_is_an_error(tmp_path: Path, kind: str, how: str) -> None:
    path = tmp_path / "home" / "a.db"
    file = path.with_name("a.secret" if kind == "file" else "a.db.key")
    key = DatabaseKey.from_file(file) if kind == "file" else DatabaseKey.passphrase(PASSPHRASE)
    Mdk.open(path, keys=KEYS, key=key).close()
    good = file.read_bytes()
    assert any(f.text.endswith("is there") for f in vault.doctor(path).findings)
    file.write_bytes(spoil(good, how))
    report = vault.doctor(path)
    assert report.exit_code == 2
    assert any(f.topic == "key" and f.level == "error" and f.hint for f in report.findings)
    done = subprocess.run(
        [sys.executable, "-m", "mdk", "doctor", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "is there" not in done.stdout
    file.write_bytes(good)
    assert vault.doctor(path).exit_code < 2
