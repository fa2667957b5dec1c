"""What a commit writes: pages are encrypted and authenticated one by one, which is much of what it costs."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.vault.sqlcipher_format import Encrypted

from mdk import DatabaseKey, Keys, Mdk

RELAYS = ["wss://relay.example"]
WARM_UP, MEASURED = 16, 6


class Account:
    """An open account whose log can be read."""

    def __init__(self, path: Path) -> None:
        self.path, self.key = path, secrets.token_bytes(32)
        self.mdk = Mdk.open(path, keys=Keys.generate(), key=DatabaseKey.raw(self.key))

    def frames(self) -> int:
        return sum(frame.live for frame in Encrypted(self.path, self.key).frames)

    def pages_of(self, work: Callable[[], object]) -> int | None:
        """How many pages it writes. None: the log began anew meanwhile."""
        before = self.frames()
        work()
        pages = self.frames() - before
        return pages if pages > 0 else None


@pytest.mark.parametrize(("members", "most"), [(2, 18), (16, 20)])
def test_a_commit_writes_over_what_is_there(tmp_path: Path, members: int, most: int) -> None:
    """However much is said in an epoch: a group that lives on takes no more pages, and frees none to fill others."""
    dice = random.Random(7)
    alice = Account(tmp_path / "mdk.db")
    packages = []
    for _ in range(members - 1):
        with Mdk.in_memory(Keys.generate()) as stranger:
            packages.append(stranger.new_key_package(relays=RELAYS))
    with alice.mdk.create_group("Lunch", members=packages, relays=RELAYS) as pending:
        group = pending.confirm().id
    counts: list[int | None] = []
    for epoch in range(WARM_UP + MEASURED):
        for n in range(dice.randrange(6)):
            alice.mdk.create_message(group, f"message {n}")
        if epoch < WARM_UP:
            alice.mdk.self_update(group).confirm()
        else:
            counts.append(alice.pages_of(lambda: alice.mdk.self_update(group).confirm()))
    known = [count for count in counts if count is not None]
    assert len(known) > MEASURED // 2
    assert max(known) <= most, counts
    rows = Encrypted(alice.path, alice.key).sqlite()
    lengths = {len(state) for (state,) in rows.execute("SELECT state FROM nodes")}
    assert len(lengths - {0}) == 1, lengths
    alice.mdk.close()
