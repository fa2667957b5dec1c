"""What SQLite leaves behind where it moves rows: nothing stands in the unused part of a page.

`PRAGMA secure_delete` overwrites a row that is deleted where it stands. A copy that a balancing of the tree has left on
a page is no row, and would stay.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.vault.kit import committed, founded
from tests.vault.sqlcipher_format import Encrypted

from mdk import DatabaseKey, Keys, Mdk
from mdk.testing import Clock

# Flags of the pages of trees, and how long their headers are (SQLite's file format, section 1.6).
HEADERS = {2: 12, 5: 12, 10: 8, 13: 8}


def unused(number: int, page: bytes) -> bytes | None:
    """What stands between the list of cells and the first cell; None: it is not the page of a tree."""
    header = 100 if number == 1 else 0
    if page[header] not in HEADERS:
        return None
    cells = int.from_bytes(page[header + 3 : header + 5], "big")
    start = int.from_bytes(page[header + 5 : header + 7], "big")
    return page[header + HEADERS[page[header]] + 2 * cells : start]


def all_unused(path: Path, key: bytes) -> Iterator[tuple[int, bytes]]:
    """Of every page of the file and every frame of the log."""
    found = Encrypted(path, key)
    assert not found.damaged
    pages = [*found.pages.items(), *((frame.number, frame.plain) for frame in found.frames)]
    for number, page in pages:
        if (part := unused(number, page)) is not None:
            yield number, part


# proves: Z4
def test_nothing_stands_in_the_unused_part_of_a_page(tmp_path: Path) -> None:
    """After a life with messages that come and go, of which the neighbours move."""
    dice, key = random.Random(1), secrets.token_bytes(32)
    path, keys = tmp_path / "alice" / "mdk.db", Keys.generate()
    clock = Clock(datetime.now(UTC).replace(microsecond=0))

    def opened() -> Mdk:
        return Mdk.open(path, keys=keys, key=DatabaseKey.raw(key), clock=clock)

    alice, bob = opened(), Mdk.in_memory(Keys.generate(), clock=clock)
    groups = [founded(alice, bob, retention=hours) for hours in (None, timedelta(hours=1))]
    said = []
    for turn in range(200):
        group = dice.choice(groups)
        sent = bob.create_message(group, secrets.token_urlsafe(dice.randrange(8, 300)))
        alice.process(sent.event)
        said.append((group, sent.message.id))
        if turn % 3 == 2:
            taken_back = said.pop(dice.randrange(len(said)))
            alice.process(bob.delete(*taken_back).event)
        if turn % 20 == 19:
            committed(bob.self_update(group), alice)
            clock.advance(timedelta(minutes=20))
            said = [(g, m) for g, m in said if g == groups[0]]
            for one in (alice, bob):
                one.tick()
        if turn % 50 == 49:
            alice.close()
            alice = opened()
    # Open, with a log, and closed.
    for close in (False, True):
        if close:
            alice.close()
        parts = list(all_unused(path, key))
        assert sum(len(part) > 100 for _, part in parts) > 20, "there is room in some pages"
        assert not [number for number, part in parts if any(part)]
