"""Statements 16 to 20, 29, 30 and 32: where keys come from, and what is refused."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import secrets
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.vault.kit import RELAYS, founded, key_in
from tests.vault.scene import bech32_bytes
from tests.vault.sqlcipher_format import Encrypted
from tests.vault.test_statements_cipher import leaks

from mdk import DatabaseKey, Keys, Mdk, errors, vault

ROOT = Path(__file__).resolve().parent.parent.parent


# proves: S16
def test_keys_come_from_the_kernel(tmp_path: Path) -> None:
    """The system call is seen, for 32 bytes, when a database is made with a new key file."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    code = (
        "import sys; from mdk import *; keys = Keys.generate(); open('/dev/null').close();"
        "Mdk.open(sys.argv[1], keys=keys, key=DatabaseKey.from_file(sys.argv[2])).close()"
    )
    traced = f"strace -f -qq -xx -s 64 -o {trace} -e trace=getrandom,openat".split()
    database, key_file = tmp_path / "v" / "a.db", tmp_path / "k" / "a.key"
    subprocess.run([*traced, sys.executable, "-c", code, database, key_file], check=True)
    lines = trace.read_text().splitlines()
    mark = max(i for i, line in enumerate(lines) if b"/dev/null".hex() in line.replace("\\x", ""))
    asked = [line for line in lines[mark:] if "getrandom(" in line and line.endswith("= 32")]
    assert asked, "32 bytes are asked for while the database is made"
    key = key_in(key_file)
    given = [bytes.fromhex(re.sub(r"\\x|[^0-9a-f\\x]", "", line.split('"')[1])) for line in asked]
    assert key in given, "and they are the key"
    assert not Encrypted(database, key).damaged


def test_ten_thousand_account_keys_are_unlike() -> None:
    keys = [bech32_bytes(Keys.generate().reveal_nsec()) for _ in range(10_000)]
    assert len(set(keys)) == len(keys)
    counts = Counter(b"".join(keys))
    expected = len(keys) * 32 / 256
    chi = sum((counts[byte] - expected) ** 2 / expected for byte in range(256))
    # 255 degrees of freedom: the mean is 255 and the deviation 22.6; six of them are one in a thousand million.
    assert chi < 255 + 6 * 22.6


# proves: S17
def test_the_key_is_stored_once(tmp_path: Path) -> None:
    """Opening again writes nothing where the key is: content, inode and times stay."""
    keys, key = Keys.generate(), tmp_path / "keys" / "a.key"
    seen = []
    for _ in range(3):
        Mdk.open(tmp_path / "v" / "a.db", keys=keys, key=DatabaseKey.from_file(key)).close()
        stat = key.stat()
        seen.append((key.read_bytes(), stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns))
        assert [p.name for p in key.parent.iterdir()] == ["a.key"]
    assert len(set(seen)) == 1


# proves: S20 S21
@pytest.mark.parametrize(
    ("field", "bad"), [("service", ""), ("service", "é" * 257), ("key_id", "a\0b")]
)
def test_identifiers_are_checked(field: str, bad: str) -> None:
    arguments = {"service": "mdk", "key_id": "one"} | {field: bad}
    with pytest.raises(errors.InvalidIdentifier) as caught:
        DatabaseKey.keyring(arguments["service"], key_id=arguments["key_id"])
    assert caught.value.field == field
    assert caught.value.hint
    assert "é" not in str(caught.value)
    DatabaseKey.keyring("s" * 512, key_id="k" * 512)


# proves: S30
def test_a_backup_is_encrypted(tmp_path: Path) -> None:
    """There is no way to ask for a plain one, and nothing of the content is in it."""
    for function in (Mdk.backup, vault.backup):
        parameters = inspect.signature(function).parameters
        assert parameters["passphrase"].default is inspect.Parameter.empty
        assert not [name for name in parameters if re.search("plain|unencrypt|insecure", name)]
    text = secrets.token_urlsafe(24)
    database_key = secrets.token_bytes(32)
    path, archive = tmp_path / "v" / "a.db", tmp_path / "archive" / "a.backup"
    archive.parent.mkdir(mode=0o700)
    with Mdk.open(path, keys=Keys.generate(), key=DatabaseKey.raw(database_key)) as account:
        group = founded(account, name=text)
        account.create_message(group, text)
        with pytest.raises(errors.InvalidPassphrase):
            account.backup(archive, passphrase="")
        assert list(archive.parent.iterdir()) == []
        account.backup(archive, passphrase="a long and winding sentence")
    assert archive.stat().st_mode & 0o777 == 0o600
    markers = {
        "text": text.encode(),
        "relay": RELAYS[0].encode(),
        "group": bytes.fromhex(group),
        "key": database_key,
        "passphrase": b"a long and winding sentence",
    }
    assert not leaks(archive.parent, markers)


# proves: S32
@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_raw_key_has_32_bytes(length: int) -> None:
    for key in (bytes(length), bytearray(length), memoryview(bytes(length))):
        with pytest.raises(errors.WrongKeyLength) as caught:
            DatabaseKey.raw(key)
        assert (caught.value.limit, caught.value.value) == (32, length)
        assert caught.value.hint
    wiped = bytearray(b"k" * length)
    with pytest.raises(errors.WrongKeyLength):
        DatabaseKey.raw(wiped, wipe=True)
    assert wiped == bytes(length)


# proves: Z3
def test_a_key_is_wiped_on_request() -> None:
    key = bytearray(secrets.token_bytes(32))
    DatabaseKey.raw(key, wipe=True)
    assert key == bytes(32)
    passphrase = bytearray(b"a long and winding sentence")
    DatabaseKey.passphrase(passphrase, wipe=True)
    assert passphrase == bytes(len(passphrase))
    view = memoryview(bytearray(secrets.token_bytes(64)))
    DatabaseKey.raw(view[:32], wipe=True)
    assert view[:32] == bytes(32)
    assert view[32:] != bytes(32)
    untouched = bytearray(secrets.token_bytes(32))
    DatabaseKey.raw(untouched)
    assert untouched != bytes(32)
    for fixed in (bytes(32), memoryview(bytearray(32)).toreadonly()):
        with pytest.raises(errors.InvalidInput):
            DatabaseKey.raw(fixed, wipe=True)


# proves: Z3
def test_no_secret_is_shown_or_copied() -> None:
    raw = secrets.token_bytes(32)
    for secret in (Keys.generate(), DatabaseKey.raw(raw), DatabaseKey.passphrase(b"sentence")):
        shown = repr(secret) + str(secret) + f"{secret}"
        assert raw.hex() not in shown
        assert "nsec" not in shown
        assert "sentence" not in shown
        for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                duplicate(secret)
