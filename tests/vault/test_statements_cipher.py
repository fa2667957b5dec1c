"""Statements 2, 3 and 5 to 15: what lies on the disk, judged without our own code."""

from __future__ import annotations

import base64
import ctypes.util
import hashlib
import math
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.vault.kit import RELAYS, founded, python, succeeded
from tests.vault.memory_scan import Child
from tests.vault.scene import KEYS, Home, deliver, filled, meet
from tests.vault.sqlcipher_format import BODY, MAGIC, PAGE, RESERVE, SALT, Encrypted, decrypt, tag

import mdk
from mdk import DatabaseKey, Keys, Mdk
from mdk import errors as mdk_errors

# Another build of SQLCipher 4, by other people.
sqlcipher = pytest.importorskip("sqlcipher3")


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path, key = tmp_path_factory.mktemp("cipher") / "vault" / "account.db", secrets.token_bytes(32)
    filled(path, key, count=40)
    return path, key


def encodings(marker: bytes) -> list[bytes]:
    """A marker as it might lie in a file: raw, hex, UTF-16, and base64 at any of its three positions."""
    text = marker.decode("latin-1")
    found = [
        marker,
        marker.hex().encode(),
        marker.hex().upper().encode(),
        text.encode("utf-16-le"),
        text.encode("utf-16-be"),
    ]
    for shift in range(3):
        # The characters that depend on neighbours are cut off.
        coded = base64.b64encode(bytes(shift) + marker)
        found.append(coded[4 : 4 * ((shift + len(marker)) // 3)])
    return found


def leaks(folder: Path, markers: dict[str, bytes]) -> list[str]:
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            found += [
                f"{name} in {path.name}"
                for name, marker in markers.items()
                if any(form in content for form in encodings(marker))
            ]
    return found


class Planted:
    """A child's account with a marker in everything that is to be kept secret."""

    def __init__(self, folder: Path, alice: Mdk, child: Child, home: Home) -> None:
        self.folder = folder
        self.home = home
        texts = {
            name: secrets.token_urlsafe(24).encode()[:32]
            for name in ("message", "group name", "group description")
        }
        group, silent = meet(
            alice, child, home, texts["group name"].decode(), texts["group description"].decode()
        )
        event = alice.create_message(group, texts["message"].decode()).event
        deliver(child, home, silent, [event])
        database = home.database().sqlite()
        ((exporter, routing),) = database.execute("SELECT event_key, nostr_group_id FROM groups")
        self.markers = texts | {
            "relay URL": RELAYS[0].encode(),
            "member's key": bytes.fromhex(alice.public_key.hex),
            "group id": bytes.fromhex(group),
            "routing id": routing,
            "exporter secret": exporter,
            "database key": home.database_key,
        }

    def leaks(self) -> list[str]:
        return leaks(self.home.folder / "vault", self.markers)


# proves: S2
def test_nothing_planted_is_in_any_file(tmp_path: Path, bob: Home) -> None:
    """While open, after kill -9, after reopening and closing; and all of it is there for whoever has the key."""
    with Mdk.in_memory() as alice:
        with Child(bob.folder) as child:
            child.do("bob open")
            planted = Planted(tmp_path, alice, child, bob)
            files = {path.name for path in (bob.folder / "vault").iterdir()}
            assert {"account.db", "account.db-wal"} <= files
            assert not planted.leaks(), "while open"
            plain = bob.database().everything()
            for name, marker in planted.markers.items():
                assert (marker in plain) == (name != "database key"), f"positive control: {name}"
            os.kill(child.pid, signal.SIGKILL)
            child.process.wait()
            assert not planted.leaks(), "after kill -9"
        with Child(bob.folder) as child:
            child.do("bob open")
            child.do("bob close")
            assert not planted.leaks(), "after close"


# proves: S2 S12
def test_the_log_is_ciphertext_at_every_moment_of_a_write(tmp_path: Path, bob: Home) -> None:
    """The child is stopped at random moments of one long transaction, and each time every file is searched."""
    chance = random.Random(7)
    with Mdk.in_memory() as alice, Child(bob.folder) as child:
        child.do("bob open")
        planted = Planted(tmp_path, alice, child, bob)
        (group,) = alice.groups()
        text = planted.markers["message"].decode() * 20
        lines = [planted_silent(bob)] + [
            alice.create_message(group.id, text).event.to_json() for _ in range(400)
        ]
        (bob.folder / "long.jsonl").write_text("\n".join(lines))
        child.tell("bob receive long.jsonl")
        grown = set()
        for _ in range(12):
            time.sleep(chance.uniform(0.002, 0.03))
            child.stop(at_work=True)
            assert not planted.leaks()
            grown.add((bob.folder / "vault" / "account.db-wal").stat().st_size)
            child.resume()
        child.expect("done")
        assert not planted.leaks()
        assert planted.markers["message"] in bob.database().everything()
        assert not (bob.folder / "vault" / "account.db-journal").exists()


def planted_silent(home: Home) -> str:
    """The child's Welcome, which says nothing any more."""
    return (home.folder / "welcome.json").read_text()


# proves: S13
def test_a_rollback_journal_of_the_file_holds_no_user_data(tmp_path: Path) -> None:
    """We never make one (the log takes its place); one made by another program from a copy is ciphertext, too."""
    key = secrets.token_bytes(32)
    path = tmp_path / "vault" / "account.db"
    filled(path, key, count=40)
    names = {p.name for p in path.parent.iterdir()}
    assert "account.db-journal" not in names
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    database = sqlcipher.connect(str(copy), isolation_level=None)
    database.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
    assert database.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    database.execute("PRAGMA synchronous = FULL")
    database.execute("BEGIN IMMEDIATE")
    database.execute("UPDATE messages SET content = 'gone'")
    journal = copy.with_name("copy.db-journal").read_bytes()
    database.execute("ROLLBACK")
    database.close()
    # The header: magic, count of pages, nonce, size of the database, sector and page size; zeros up to the sector.
    assert journal[8:12] != b"SQLi"
    assert int.from_bytes(journal[24:28], "big") == PAGE
    assert journal[28:512] == bytes(512 - 28)
    assert not any(form in journal for form in encodings(b"message 1 xxxxxxxxx"))
    assert len(journal) > PAGE, "it holds pages"


# proves: S3
def test_a_thief_without_the_key_gets_noise(tmp_path: Path) -> None:
    path = tmp_path / "vault" / "account.db"
    source = DatabaseKey.from_file(tmp_path / "keys" / "account.key")
    with Mdk.open(path, keys=Keys.generate(), key=source) as account:
        group = founded(account)
        for number in range(60):
            account.create_message(group, f"message {number}")
    stolen = tmp_path / "stolen"
    shutil.copytree(path.parent, stolen)
    before = {p.name: p.read_bytes() for p in stolen.iterdir()}
    elsewhere = DatabaseKey.from_file(tmp_path / "elsewhere" / "account.key")
    with pytest.raises(mdk_errors.KeyMissing):
        Mdk.open(stolen / "account.db", keys=Keys.generate(), key=elsewhere)
    assert not (tmp_path / "elsewhere").exists(), "no new key is made for an old database"
    content = before["account.db"]
    words = re.findall(rb"[ -~]{8,}", content)
    assert not [w for w in words if re.search(rb"(?i)sqlite|create|table|message|index|group", w)]
    for start in range(0, len(content), PAGE):
        assert entropy(content[start : start + PAGE]) > 7.9, f"page {start // PAGE + 1}"


def entropy(data: bytes) -> float:
    """Bits per byte."""
    return -sum(n / len(data) * math.log2(n / len(data)) for n in Counter(data).values())


# proves: S5
def test_encryption_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one way to have a database on disk, and it encrypts. What is not encrypted has no file."""
    loud = [name for name in dir(Mdk) if re.search(r"plain|unencrypt|insecure", name)]
    assert not loud, "a release has no such constructor"
    monkeypatch.chdir(tmp_path)
    with Mdk.in_memory() as account:
        account.new_key_package(relays=RELAYS)
        assert list(tmp_path.iterdir()) == []


# proves: S5 S6
def test_every_database_has_its_own_salt(tmp_path: Path) -> None:
    key, heads = secrets.token_bytes(32), set()
    for number in range(4):
        path = tmp_path / str(number) / "account.db"
        Mdk.open(path, keys=KEYS, key=DatabaseKey.raw(key)).close()
        heads.add(path.read_bytes()[:SALT])
    assert len(heads) == 4
    assert MAGIC not in heads


# proves: S7 S8
def test_page_1_decrypts_with_the_raw_key(vault: tuple[Path, bytes]) -> None:
    path, key = vault
    page = decrypt(key, 1, path.read_bytes()[:PAGE])
    assert int.from_bytes(page[16:18], "big") == PAGE
    assert page[20] == RESERVE
    assert page[21:24] == bytes([64, 32, 32]), "the fixed fractions of SQLite's header"
    header = Encrypted(path, key).header
    assert header.application_id == int.from_bytes(b"MDKs", "big")
    assert header.user_version >= 1


# proves: S8
def test_opening_derives_no_key(tmp_path: Path) -> None:
    """Processor time, not waiting for the disk, beside that of a key derivation of SQLCipher's kind."""
    keys, key = Keys.generate(), secrets.token_bytes(32)
    times = []
    for _ in range(8):
        begun = time.process_time()
        with Mdk.open(tmp_path / "v" / "account.db", keys=keys, key=DatabaseKey.raw(key)):
            times.append(time.process_time() - begun)
    begun = time.process_time()
    hashlib.pbkdf2_hmac("sha512", key, key, 256_000)
    derived = time.process_time() - begun
    assert min(times[1:]) < derived / 2, (times, derived)


# proves: S8 S10
def test_another_build_of_sqlcipher_opens_it(vault: tuple[Path, bytes], tmp_path: Path) -> None:
    """Another release of SQLCipher 4, told nothing but the key: so all settings are version 4's own."""
    path, key = vault
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    database = sqlcipher.connect(str(copy))
    database.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
    assert database.execute("SELECT count(*) FROM messages").fetchone() == (40,)
    assert database.execute("PRAGMA cipher_integrity_check").fetchall() == []
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    settings = " ".join(row[0] for row in database.execute("PRAGMA cipher_settings"))
    for setting in (
        "cipher_page_size = 4096",
        "cipher_hmac_algorithm = HMAC_SHA512",
        "cipher_kdf_algorithm = PBKDF2_HMAC_SHA512",
        "cipher_plaintext_header_size = 0",
    ):
        assert setting in settings, settings
    database.close()


# proves: S9
def test_every_page_carries_its_tag(tmp_path: Path) -> None:
    """In the file and in the log, recomputed; and no tag of one page fits another."""
    path, key = tmp_path / "vault" / "account.db", secrets.token_bytes(32)
    filled(path, key, count=40)
    with Mdk.open(path, keys=KEYS, key=DatabaseKey.raw(key)) as account:
        account.new_key_package(relays=RELAYS)
        found = Encrypted(path, key)
        assert found.frames
        assert not found.damaged
        assert not found.damaged_frames
    found = Encrypted(path, key)
    assert not found.damaged
    assert len(found.pages) == found.header.pages > 30
    second, third = (found.raw[n * PAGE : (n + 1) * PAGE] for n in (1, 2))
    assert tag(found.mac_key, 2, second) == second[BODY + 16 :] != tag(found.mac_key, 2, third)
    assert tag(found.mac_key, 3, second) != second[BODY + 16 :]


# proves: S11
def test_a_large_sort_leaves_no_temporary_file(tmp_path: Path) -> None:
    """Every file that is opened for writing while megabytes are sorted is one of the database's own."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    program = """
import sys
from pathlib import Path
from mdk import *
with Mdk.open(Path(sys.argv[1]), keys=Keys.generate(), key=DatabaseKey.raw(bytes(range(32)))) as mdk:
    with mdk.create_group("Lunch", relays=["wss://relay.example"]) as pending:
        group = pending.confirm()
    for number in range(150):
        mdk.create_message(group.id, f"{number} " + "y" * 20_000)
    assert len(mdk.search("y", limit=500)) >= 150
    mdk.digest()
"""
    # What a plain SQLite does that may use files: a sort of megabytes makes one.
    control = """
import sqlite3
plain = sqlite3.connect(":memory:")
plain.execute("PRAGMA temp_store = FILE")
plain.execute(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)"
    " SELECT randomblob(1000) AS blob FROM n ORDER BY blob"
).fetchone()
"""
    path = tmp_path / "vault" / "account.db"

    def traced(code: str) -> str:
        trace = tmp_path / "trace"
        command = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=openat,open,creat"]
        subprocess.run([*command, sys.executable, "-B", "-c", code, str(path)], check=True)
        return trace.read_text()

    assert "etilqs_" in traced(control)
    calls = traced(program)
    made = set(re.findall(r'"([^"]*)", [^)]*(?:O_CREAT|O_TMPFILE)', calls))
    assert made, "the trace sees files being made"
    names = {name.rpartition("/")[2] for name in made if not name.startswith("/dev/")}
    ours = re.compile(
        r"account\.(db|key)(-wal|-shm|\.tmp|\.tmp-wal|\.tmp-shm|\.tmp-journal|\.lock|\.keyinfo|\.key|\.keyinfo\.tmp)*$"
    )
    assert not [name for name in names if not ours.match(name)], names
    assert "etilqs_" not in calls


# proves: S14
def test_temporary_storage_is_compiled_in() -> None:
    """SQLite names its compile-time options; the name is in the library."""
    library = mdk._mdk.__file__
    content = Path(library).read_bytes()
    assert b"TEMP_STORE=3" in content
    assert b"HAS_CODEC" in content


# proves: S15
def test_no_other_sqlite_can_take_its_place(tmp_path: Path) -> None:
    """A plain SQLite that is loaded first is not used: the library has its own inside and shows none of its names."""
    plain = ctypes.util.find_library("sqlite3")
    if plain is None:
        pytest.skip("there is no plain SQLite on this machine")
    key = secrets.token_bytes(32)
    path = tmp_path / "vault" / "account.db"
    code = (
        "import sys; from mdk import *;"
        "m = Mdk.open(sys.argv[1], keys=Keys.generate(), key=DatabaseKey.raw(bytes.fromhex(sys.argv[2])));"
        "print(m.info.sqlcipher_version); m.close()"
    )
    said = succeeded(python(code, path, key.hex(), env=os.environ | {"LD_PRELOAD": plain}))
    assert said.startswith("4.")
    assert not Encrypted(path, key).damaged
    assert Encrypted(path, key).raw[:SALT] != b"SQLite format 3\0"
