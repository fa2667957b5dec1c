"""What lies in memory while a whole database is worked on, and how deep that goes."""

from __future__ import annotations

import copy
import secrets
import shutil
import struct
import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from tests import sampling
from tests.vault.backup_format import HEADER, derived_keys, hchacha20
from tests.vault.memory_scan import (
    Child,
    Hit,
    Scanner,
    below_the_stack,
    forms,
    kind,
    listing,
    torn,
)
from tests.vault.scene import Home, dumped
from tests.vault.torture.world import adopt

from mdk import DatabaseKey, vault

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

WHOLE = ("verify", "rekey", "salvage", "encrypt_existing", "backup", "restore")
# A client's account has its key in the database.
CLIENT = ("make_client", "start_client", "close_client")
# Of the later moments at which it tells of progress each n-th is looked at.
STRIDE = sampling.count("torture_stride")
ENGINE = ("open", "close", "forget")


Prepared = tuple[Home, dict[str, bytes]]
Prepare = Callable[[Path, tuple[str, ...]], Prepared]


@pytest.fixture(scope="module")
def to_be_worked_on(tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    """Gives a closed account in a folder, and what must not lie about. Each kind of account is made once."""
    made: dict[tuple[str, ...], Prepared] = {}

    def prepare(folder: Path, steps: tuple[str, ...]) -> Prepared:
        if steps not in made:
            made[steps] = closed(tmp_path_factory.mktemp("closed"), steps)
        original, needles = made[steps]
        home = copy.copy(original)
        home.folder = folder / "bob"
        shutil.copytree(original.folder, home.folder)
        for record in home.folder.rglob("*.keyinfo"):
            adopt(record)
        return home, dict(needles)

    return prepare


def closed(folder: Path, steps: tuple[str, ...]) -> Prepared:
    """An account that was opened and closed, and what must not lie about: a new key, too."""
    home = Home(folder / "bob")
    new, passphrase = secrets.token_bytes(32), secrets.token_hex(12)
    for name, content in (("new.key", new), ("passphrase", passphrase.encode())):
        (home.folder / name).touch(mode=0o600)
        (home.folder / name).write_bytes(content)
    with Child(home.folder) as child:
        child.do(*(f"bob {step}" for step in steps))
    key = DatabaseKey.raw(home.database_key)
    old = home.folder / "old.bak"
    vault.backup(home.folder / "vault/account.db", old, passphrase=passphrase, key=key)
    needles = home.long_lived() | forms("new database key", new)
    needles |= torn("database key", home.database_key) | torn("new database key", new)
    return home, needles | keys_of_archive(home, "old.bak")


def keys_of_archive(home: Home, name: str) -> dict[str, bytes]:
    """The keys of a backup that is there or is being made; none before its header is written."""
    for file in home.folder.glob(f"*{name}*"):
        header = file.read_bytes()[:HEADER]
        if len(header) == HEADER:
            keys = derived_keys(header, (home.folder / "passphrase").read_bytes())
            of_chunks, of_header = keys[:32], keys[32:]
            return torn(f"{name} chunks", of_chunks) | torn(f"{name} header", of_header)
    return {}


# proves: Z1 Z2
@pytest.mark.parametrize("operation", WHOLE)
def test_keys_while_the_whole_database_is_worked_on(
    tmp_path: Path, to_be_worked_on: Prepare, operation: str, scanner: Scanner
) -> None:
    """Whoever is told how far it is may take long: no key of a database lies outside the locked pages then."""
    home, needles = to_be_worked_on(tmp_path, CLIENT)
    found: list[Hit] = []
    written: dict[str, bytes] = {}
    with Child(home.folder) as child:
        child.tell(f"bob whole {operation}")
        told = 0
        while child.hear() == "at":
            told += 1
            if told <= 4 or (told + sampling.first_seed()) % STRIDE == 0:
                found += child.look(scanner, needles | written)
            # What is being written is known by its header.
            if operation == "backup" and not written:
                written = keys_of_archive(home, "a.bak")
            child.tell("")
        child.do("bob forget")
    assert told > 1
    held = {hit.needle.partition(",")[0] for hit in found}
    expected = {"restore": "new database key", "backup": "a.bak chunks"}
    assert expected.get(operation, "database key") in held, "positive control"
    outside = [
        hit
        for hit in found
        if hit.area.dumped or (kind(hit.needle) != "account key" and not hit.area.locked)
    ]
    assert not outside, listing(outside)


# proves: Z2
@pytest.mark.parametrize("operation", WHOLE)
def test_a_core_dump_while_the_whole_database_is_worked_on(
    core_files: Path, to_be_worked_on: Prepare, operation: str
) -> None:
    home, needles = to_be_worked_on(core_files, CLIENT)
    # When the first pages or rows have passed.
    crash_at = 4 if operation == "backup" else 2
    with Child(home.folder, dumps=True) as child:
        child.tell(f"bob whole {operation} {crash_at}")
        for _ in range(crash_at - 1):
            child.expect("at")
            child.tell("")
        content = dumped(child, core_files)
    assert str(home.folder).encode() in content, "the dump has the heap"
    if operation == "backup":
        written = keys_of_archive(home, "a.bak")
        assert written
        needles |= written
    assert not [name for name, needle in needles.items() if needle in content]


# proves: Z1 Z2
def test_what_a_passphrase_gives_while_its_database_is_worked_on(
    bob: Home, scanner: Scanner
) -> None:
    """What Argon2id makes of it is gone; the key that it unwraps lies in locked pages."""
    passphrase = secrets.token_hex(12).encode()
    (bob.folder / "passphrase").write_bytes(passphrase)
    found: list[Hit] = []
    with Child(bob.folder) as child:
        child.do("bob open_with_passphrase passphrase", "bob close", "bob forget")
        wrapping = wrapping_key(bob, passphrase)
        needles = torn("wrapping key", wrapping) | torn("database key", unwrapped(bob, wrapping))
        child.tell("bob whole verify_with_passphrase")
        for _ in range(2):
            child.expect("at")
            found += child.look(scanner, needles)
            child.tell("")
    assert "database key" in {kind(hit.needle) for hit in found}, "positive control"
    outside = [hit for hit in found if hit.area.dumped or not hit.area.locked]
    assert not outside, listing(outside)
    assert "wrapping key" not in {kind(hit.needle) for hit in found}


KEY_FILE = b"mdk-wrapped-key-1:"


def key_file(home: Home) -> bytes:
    """Memory, passes and lanes, little endian; salt, nonce, and the key with its tag."""
    text = (home.folder / "vault/account.db.key").read_bytes().strip()
    return b64decode(text.removeprefix(KEY_FILE), validate=True)


def unwrapped(home: Home, wrapping: bytes) -> bytes:
    """The key of the database."""
    content = key_file(home)
    nonce = content[28:52]
    cipher = ChaCha20Poly1305(hchacha20(wrapping, nonce[:16]))
    return cipher.decrypt(bytes(4) + nonce[16:], content[52:], KEY_FILE + content[:28])


def wrapping_key(home: Home, passphrase: bytes) -> bytes:
    """What Argon2id makes of the passphrase."""
    content = key_file(home)
    memory, passes, lanes = struct.unpack("<3I", content[:12])
    salt = content[12:28]
    return Argon2id(
        salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory
    ).derive(passphrase)


# proves: Z1
@pytest.mark.parametrize("operation", [*WHOLE, "open"])
def test_no_operation_leaves_anything_below_what_is_wiped(
    tmp_path: Path, to_be_worked_on: Prepare, operation: str
) -> None:
    """But for where the wiping itself has been, if it was called from deeper down."""
    home, _ = to_be_worked_on(tmp_path, ENGINE)
    with Child(home.folder) as child:
        child.do("bob only_read file")
        child.stop()
        wiped = len(below_the_stack(child.pid).lstrip(b"\0"))
        child.resume()
        if operation == "open":
            child.do("bob open")
        else:
            child.tell(f"bob whole {operation}")
            while child.hear() == "at":
                child.tell("")
        child.stop()
        deeper = below_the_stack(child.pid)[:-wiped]
    assert wiped > 1024
    assert len(deeper) - deeper.count(0) < 512
