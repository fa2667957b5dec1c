"""What is left in memory: the scanner looks through every mapping of a stopped process.

The child has a real encrypted database. It takes in 1,000 messages that it never hands to Python, sends some, commits
and closes. The parent knows all that is secret: what it planted, and what it reads from the database file with its own
decoder.
"""

from __future__ import annotations

import secrets
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.vault import mls_rows
from tests.vault.memory_scan import Child, Hit, Scanner, kind, listing
from tests.vault.scene import Home, bech32_bytes, deliver, dumped, meet
from tests.vault.torture.shim import build

from mdk import Mdk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MESSAGES = 1000
# The example of NIP-49, with the password "nostr".
NIP49 = (
    (
        "ncryptsec1qgg9947rlpvqu76pj5ecreduf9jxhselq2nae2kghhvd5g7dgjtcxfqtd67p9m0w57lspw8gsq6yphnm8623nsl8xn9j4jdzz84zm3frztj"
        "3z7s35vpzmqf6ksu8r89qk5z2zxfmu5gv8th8wclt0h4p"
    ),
    bytes.fromhex("3501454135014541350145413501453fefb02227e449e57cf4d3a3ce05378683"),
)
FOUND_WHILE_OPEN = {
    *("account key", "plaintext", "signature key", "HPKE key of the epoch", "message secret"),
    *("epoch secret", "exporter secret", "exporter tree"),
}
WHEN = {"held": "open, with its DatabaseKey object", "open": "open, without that object"}


@dataclass
class Scene:
    """What one run of the child left behind, to be judged by the tests."""

    needles: dict[str, bytes]
    consumed: dict[str, bytes]
    held: list[Hit]
    """While open, with the `DatabaseKey` object still there."""
    opened: list[Hit]
    """While open, without it."""
    closed: list[Hit]
    forgotten: list[Hit]
    stored: int
    rest: bytes
    """All that the database key opens after closing."""


def chain(first: list[bytes], last: list[bytes], steps: int) -> list[tuple[bytes, bytes]]:
    """The ratchet between two states of the database: secret and message key of each generation from 1 on."""
    for start in first:
        secret, made = start, []
        for generation in range(1, steps + 1):
            key, following = mls_rows.ratchet(secret, generation)
            made.append((secret, key))
            secret = following
        if secret in last:
            return made
    raise AssertionError("the sender's ratchet is not where it should be")


def ratchets(home: Home) -> list[bytes]:
    rows = (
        home.database()
        .sqlite()
        .execute("SELECT value FROM mls_rows WHERE label = ?", (mls_rows.MESSAGE_SECRETS,))
    )
    return [secret for (value,) in rows for secret in mls_rows.strings(value)]


def play(folder: Path) -> Scene:
    home = Home(folder / "bob")
    scanner = Scanner(folder)
    mark = secrets.token_urlsafe(9)
    with Mdk.in_memory() as alice, Child(home.folder) as child:
        child.do("bob open")
        group, silent = meet(alice, child, home)
        texts = [" ".join([f"{mark}{number:04d}"] * 5) for number in range(MESSAGES)]
        events = [alice.create_message(group, text).event for text in texts]
        deliver(child, home, silent, events[:1])
        early, first = mls_rows.secrets(home.database().sqlite()), ratchets(home)
        deliver(child, home, silent, events[1:])
        child.do(f"bob send {group} 5")
        late, last = mls_rows.secrets(home.database().sqlite()), ratchets(home)
        made = chain(first, last, MESSAGES - 1)
        consumed = {f"consumed ratchet secret, {i}": secret for i, (secret, _) in enumerate(made)}
        consumed |= {f"consumed message key, {i}": key for i, (_, key) in enumerate(made)}
        count = "SELECT count(*) FROM messages WHERE content GLOB ?"
        ((stored,),) = home.database().sqlite().execute(count, (f"{mark}*",)).fetchall()
        needles = home.long_lived() | {"plaintext, any": mark.encode()} | consumed
        needles |= {f"{name}, early": secret for name, secret in early.items()}
        needles |= {f"{name}, late": s for name, s in late.items() if s not in early.values()}
        held = child.look(scanner, home.long_lived())
        child.do("bob drop_key")
        opened = child.look(scanner, needles)
        child.do(f"bob update {group} commit.json")
        newest = mls_rows.secrets(home.database().sqlite())
        child.do("bob read_ahead")
        known = set(needles.values())
        needles |= {f"{name}, newest": s for name, s in newest.items() if s not in known}
        child.do("bob close")
        closed = child.look(scanner, needles)
        child.do("bob forget")
        forgotten = child.look(scanner, needles)
    rest = home.database().everything()
    return Scene(needles, consumed, held, opened, closed, forgotten, stored, rest)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return play(tmp_path_factory.mktemp("memory"))


# proves: Z1
def test_nothing_secret_is_left_after_close(scene: Scene) -> None:
    """Neither keys of any kind nor plaintexts; the account key goes with the `Keys` object, which is still there."""
    found = {kind(hit.needle) for hit in scene.opened}
    assert found >= FOUND_WHILE_OPEN, "positive control"
    assert scene.stored == MESSAGES
    assert len(scene.consumed) == 2 * (MESSAGES - 1)
    held = [hit for hit in scene.closed if kind(hit.needle) == "account key"]
    left = [hit for hit in scene.closed if hit not in held]
    assert not left, listing(left)
    halves = {"account key, raw, 1st half", "account key, raw, 2nd half"}
    assert {hit.needle for hit in held} == halves, listing(held)
    assert all(hit.area.locked and not hit.area.dumped for hit in held)
    assert not scene.forgotten, listing(scene.forgotten)


# proves: Z1 Z2
@pytest.mark.filterwarnings("ignore:record_property is incompatible")
def test_copies_of_the_keys_while_open(
    scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    """One copy each, all in locked pages that are not dumped: in a pool of their own, whole mappings.

    SQLCipher's own copies are masked between its calls, so that of the database key is the one in the `DatabaseKey`
    object; without that object there is none to be found.
    """
    for when, hits in (("held", scene.held), ("open", scene.opened)):
        for name in ("database key", "page authentication key", "account key"):
            found = [hit for hit in hits if kind(hit.needle) == name]
            copies = max(Counter(hit.needle for hit in found).values(), default=0)
            record_property(f"copies of the {name} in memory, {WHEN[when]}", copies)
            outside = [hit for hit in found if hit.area.dumped or not hit.area.locked]
            assert not outside, listing(outside)
            assert all(hit.area.end - hit.area.start >= 16 * 1024 for hit in found)
            expected = {"account key": 1, "database key": int(when == "held")}
            assert copies == expected.get(name, 0), (when, name)


# proves: Z5
def test_consumed_message_keys_are_gone_from_the_file(scene: Scene) -> None:
    """999 ratchet secrets and message keys, derived from an earlier state, in everything that the key opens."""
    left = [name for name, secret in scene.consumed.items() if secret in scene.rest]
    assert not left


# proves: Z1
def test_a_closed_account_leaves_nothing_beside_an_open_one(
    tmp_path: Path, scanner: Scanner
) -> None:
    """Two accounts in one process; the other one stays open and is not touched."""
    bob, carol = Home(tmp_path / "bob"), Home(tmp_path / "carol")
    marks = {home.name: secrets.token_urlsafe(9) for home in (bob, carol)}
    with Mdk.in_memory() as alice, Child(bob.folder, carol.folder) as child:
        for home in (bob, carol):
            child.do(f"{home.name} open")
            group, silent = meet(alice, child, home)
            events = [
                alice.create_message(group, f"{marks[home.name]} {number}").event
                for number in range(50)
            ]
            deliver(child, home, silent, events)
            child.do(f"{home.name} read_ahead")
        gone = bob.long_lived() | {"plaintext, bob": marks["bob"].encode()}
        gone |= mls_rows.secrets(bob.database().sqlite())
        child.do("bob close", "bob forget")
        left = child.look(scanner, gone)
        assert not left, listing(left)
        stays = {"plaintext, carol": marks["carol"].encode()} | carol.long_lived()
        assert {kind(hit.needle) for hit in child.look(scanner, stays)} >= {
            "plaintext",
            "account key",
        }


# proves: Z1
def test_closing_beside_a_thread_that_reads_leaves_nothing(bob: Home, scanner: Scanner) -> None:
    """It has taken events in, and Python has none of their texts yet."""
    mark = secrets.token_urlsafe(9)
    with Mdk.in_memory() as alice, Child(bob.folder) as child:
        child.do("bob open")
        group, silent = meet(alice, child, bob)
        events = [silent, *(alice.create_message(group, f"{mark} {n}").event for n in range(50))]
        lines = [event.to_json() for event in events]
        (bob.folder / "events.jsonl").write_text("\n".join(lines))
        text = {"plaintext": mark.encode()}
        child.do("bob read_beside events.jsonl")
        assert child.look(scanner, text)
        child.do("bob close")
        left = child.look(scanner, text | mls_rows.secrets(bob.database().sqlite()))
        assert not left, listing(left)
        child.do("bob go_on")


# proves: Z1
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the shim")
def test_an_account_that_a_failed_rekey_has_closed_leaves_nothing(
    tmp_path: Path, bob: Home, scanner: Scanner
) -> None:
    """Nobody calls close() on it, and iterators that were not read to their end are still there."""
    (bob.folder / "new.key").write_bytes(secrets.token_bytes(32))
    mark = secrets.token_urlsafe(9)
    shim = build(tmp_path)
    with Mdk.in_memory() as alice, Child(bob.folder, preload=shim) as child:
        child.do("bob open")
        group, silent = meet(alice, child, bob)
        events = [alice.create_message(group, f"{mark} {n}").event for n in range(50)]
        deliver(child, bob, silent, events)
        child.do("bob read_ahead")
        gone = bob.long_lived() | {"plaintext": mark.encode()}
        gone |= mls_rows.secrets(bob.database().sqlite())
        assert "plaintext" in {kind(hit.needle) for hit in child.look(scanner, gone)}
        child.do("bob rekey_that_closes", "bob drop_keys")
        left = child.look(scanner, gone)
        assert not left, listing(left)
        child.do("bob unread_is_gone", "bob open_again", "bob verify")


# proves: Z2
@pytest.mark.parametrize("of", ["an engine", "a client"])
def test_a_core_dump_holds_neither_database_key_nor_account_key(core_files: Path, of: str) -> None:
    """A client's account keeps its key in the database, so that it lies in the pages that SQLite has read, too.

    At rest: a thread that is at work on a page, or signs, has the key that it uses in its registers.
    """
    home = Home(core_files / "bob")
    with Mdk.in_memory() as alice, Child(home.folder, dumps=True) as child:
        if of == "a client":
            child.do("bob make_client", "bob start_client", "bob rest")
        else:
            child.do("bob open")
            group, silent = meet(alice, child, home)
            deliver(child, home, silent, [alice.create_message(group, "a landmark").event])
        child.tell("bob crash")
        content = dumped(child, core_files)
    assert str(home.folder / "vault").encode() in content, "the dump has the heap"
    found = [name for name, needle in home.long_lived().items() if needle in content]
    assert not found


# proves: Z1 Z2
def test_a_client_holds_no_key_of_the_database_once_it_is_open(bob: Home, scanner: Scanner) -> None:
    """Closed, it holds none at all, and it lasts as long as its user keeps it.

    Open, SQLCipher alone has the database's key. The account's key is there for the engine, which signs with it, and in
    the page of the database that keeps it. A client at work has more for as long as a signature or a page takes.
    """
    with Child(bob.folder) as child:
        child.do("bob open", "bob close", "bob forget")
        for step, expected in (
            ("make_client", {"database key": 1, "account key": 1}),
            ("start_client", {"account key": 2}),
            ("close_client", {}),
        ):
            child.do(f"bob {step}")
            found: list[Hit] = []
            for _ in range(40):
                child.do("bob rest")
                found = child.look(scanner, bob.long_lived())
                copies = Counter(hit.needle for hit in found)
                held = {kind(needle): count for needle, count in copies.items()}
                safe = all(hit.area.locked and not hit.area.dumped for hit in found)
                if safe and held == expected:
                    break
            else:
                raise AssertionError(f"{step}: {listing(found)}")


# proves: Z1 Z2
@pytest.mark.parametrize(
    ("how", "form"),
    [
        ("file", "nsec"),
        ("env", "hex"),
        ("parse", "nsec"),
        ("password", "ncryptsec"),
        ("raw", "database"),
    ],
)
def test_a_key_that_was_only_read_lies_in_locked_pages(
    bob: Home, scanner: Scanner, monkeypatch: pytest.MonkeyPatch, how: str, form: str
) -> None:
    """Nothing comes after the reading that could write over what that has left. Python's own texts do not count."""
    secret = {"ncryptsec": NIP49[1], "database": bob.database_key}.get(form)
    secret = secret or bech32_bytes(bob.nsec)
    text = {"hex": secret.hex(), "ncryptsec": NIP49[0]}.get(form, bob.nsec)
    (bob.folder / "account.key").write_text(text, encoding="ascii")
    if how == "env":
        monkeypatch.setenv("ACCOUNT_KEY", text)
    # Any eight bytes of it: copies by way of registers can be torn.
    needles = {f"key, from byte {at}": secret[at : at + 8] for at in range(25)}
    if how == "file":
        middle = len(text) // 2
        needles |= {"its text": text[:middle].encode(), "its end": text[middle:].encode()}
    with Child(bob.folder) as child:
        child.do(f"bob only_read {how}")
        found = child.look(scanner, needles)
        assert len({hit.address for hit in found}) >= 25, "positive control"
        outside = [hit for hit in found if hit.area.dumped or not hit.area.locked]
        assert not outside, listing(outside)
        child.do("bob forget")
        left = child.look(scanner, needles)
        assert not left, listing(left)


# proves: Z1
def test_a_passphrase_is_gone_after_closing(bob: Home, scanner: Scanner) -> None:
    passphrase = secrets.token_urlsafe(24)
    (bob.folder / "passphrase").write_text(passphrase)
    needles = {"1st half": passphrase[:16].encode(), "2nd half": passphrase[16:].encode()}
    with Child(bob.folder) as child:
        for _ in range(2):
            child.do("bob open_with_passphrase passphrase")
            assert child.look(scanner, needles), "positive control: the DatabaseKey holds it"
            child.do("bob close", "bob forget")
            left = child.look(scanner, needles)
            assert not left, listing(left)
            child.resume()
