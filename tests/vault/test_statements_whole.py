"""Operations on a whole database, judged by the decoder and by what is left in memory: re-key, encryption, backup."""

from __future__ import annotations

import base64
import secrets
import sqlite3
import sys
from pathlib import Path

import pytest
from tests.vault import mls_rows
from tests.vault.memory_scan import Child, Scanner, forms
from tests.vault.scene import KEYS, Home, deliver, filled, meet
from tests.vault.sqlcipher_format import PAGE, Encrypted

from mdk import DatabaseKey, Mdk, errors, vault


def blocks(path: Path) -> set[bytes]:
    """The ciphertext of a file in pieces of 16 bytes: of a page, any piece would betray a copy."""
    content = path.read_bytes()
    return {content[at : at + 16] for at in range(0, len(content), 64)}


# proves: K2
def test_after_rekey_only_the_new_key_fits(tmp_path: Path) -> None:
    path = tmp_path / "vault" / "account.db"
    old, new = secrets.token_bytes(32), secrets.token_bytes(32)
    digest = filled(path, old)
    before, salt = blocks(path), Encrypted(path, old).salt
    seen = set()
    report = vault.rekey(
        path,
        DatabaseKey.raw(new),
        key=DatabaseKey.raw(old),
        progress=lambda progress: seen.add(progress.stage),
    )
    assert report.bytes >= 30 * PAGE
    assert "writing" in seen
    fresh = Encrypted(path, new)
    assert not fresh.damaged
    assert fresh.salt != salt
    assert len(Encrypted(path, old).damaged) == len(fresh.pages), "not one page opens with it"
    for file in path.parent.iterdir():
        assert not before & {file.read_bytes()[at : at + 16] for at in range(0, 1 << 20, 64)} - {
            b""
        }
    with pytest.raises(errors.WrongKey):
        Mdk.open(path, keys=KEYS, key=DatabaseKey.raw(old))
    with Mdk.open(path, keys=KEYS, key=DatabaseKey.raw(new)) as account:
        assert account.digest() == digest


# proves: K2 Z1
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_rekey_and_backup_leave_no_key_in_memory(bob: Home, scanner: Scanner) -> None:
    """Old key, new key, passphrase and secrets, after a re-key and a backup in the process that closes then."""
    new, passphrase, mark = (
        secrets.token_bytes(32),
        secrets.token_urlsafe(24),
        secrets.token_urlsafe(9),
    )
    (bob.folder / "new.key").write_bytes(new)
    (bob.folder / "passphrase").write_text(passphrase)
    (bob.folder / "archive").mkdir(mode=0o700)
    with Mdk.in_memory() as alice, Child(bob.folder) as child:
        child.do("bob open")
        group, silent = meet(alice, child, bob)
        events = [alice.create_message(group, f"{mark} {number}").event for number in range(30)]
        deliver(child, bob, silent, events)
        needles = bob.long_lived() | {"plaintext, any": mark.encode()}
        needles |= mls_rows.secrets(bob.database().sqlite())
        needles |= {
            "passphrase, 1st": passphrase[:16].encode(),
            "passphrase, 2nd": passphrase[16:].encode(),
        }
        child.do("bob rekey new.key")
        bob.database_key = new
        assert not bob.database().damaged
        needles |= {f"new {name}": needle for name, needle in bob.long_lived().items()}
        child.do("bob backup archive/bob.backup", "bob verify", f"bob send {group} 2")
        found = child.look(scanner, needles)
        assert any(hit.needle.startswith("plaintext") for hit in found), "positive control"
        child.do("bob close", "bob forget")
        left = child.look(scanner, needles)
        assert not left, [(hit.needle, hit.area.name) for hit in left]


# proves: Z1 Z2
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_key_file_leaves_no_key_in_memory(bob: Home, scanner: Scanner) -> None:
    """The file is read by the library; not even while open is there a copy outside of SQLCipher's masked one."""
    with Child(bob.folder) as child:
        for _ in range(2):
            child.do("bob open_with_file keys/account.key")
            text = (bob.folder / "keys" / "account.key").read_text().strip()
            key = base64.b64decode(text.rpartition(":")[2])
            needles = forms("database key", key) | {"file, 1st half": text[:30].encode()}
            assert not child.look(scanner, needles), "while open"
            child.do("bob close", "bob forget")
            assert not child.look(scanner, needles), "after closing"


# proves: K3
def test_a_plain_database_is_encrypted_in_place(tmp_path: Path) -> None:
    """Decrypted by us into plain SQLite, encrypted again by the library: equal rows, nothing plain left."""
    path = tmp_path / "vault" / "account.db"
    key = secrets.token_bytes(32)
    mark = secrets.token_urlsafe(18)
    digest = filled(path, key, mark)
    plain = tmp_path / "plain" / "account.db"
    plain.parent.mkdir(mode=0o700)
    found = Encrypted(path, key).sqlite()
    target = sqlite3.connect(plain)
    found.backup(target)
    target.close()
    plain.chmod(0o600)
    assert mark.encode() in plain.read_bytes()
    new = secrets.token_bytes(32)
    report = vault.encrypt_existing(plain, key=DatabaseKey.raw(new))
    assert report.rows > 60
    for file in plain.parent.iterdir():
        assert mark.encode() not in file.read_bytes()
    assert not Encrypted(plain, new).damaged
    with Mdk.open(plain, keys=KEYS, key=DatabaseKey.raw(new)) as account:
        assert account.digest() == digest
