"""What it costs to choose between two commits of one epoch, beside a commit that nobody contests."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from mdk import GroupId
from ours import Account, Ours
from worker import TEXT

MEMBERS = 10


def measure(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Medians in milliseconds, in a process of its own."""
    command = [sys.executable, __file__, str(folder), "4" if quick else "30"]
    found: dict[str, Any] = json.loads(subprocess.check_output(command, text=True))
    return found


def read(side: Ours, account: Account, *events: str) -> float:
    """Milliseconds until the account has read these and chosen between them."""
    start = perf_counter()
    for event in events:
        account.engine.process(event)
    side.rest(account)
    return (perf_counter() - start) * 1000


def commits(side: Ours, account: Account, group: GroupId) -> str:
    """A confirmed commit of an account that has nothing to choose any more."""
    side.rest(account)
    return side.self_update(account, group)


def forks(side: Ours, rounds: int) -> dict[str, Any]:
    """Alice and Bob commit, Carol looks on: alone, and both at once, in either order."""
    alice, bob, carol = (side.account(name) for name in ("alice", "bob", "carol"))
    invited = [side.key_package(bob), side.key_package(carol), *side.strangers(MEMBERS - 3)]
    group, welcomes = side.create(alice, invited, wrap=True)
    for account, welcome in ((bob, welcomes[0]), (carol, welcomes[1])):
        side.join(account, welcome, wrapped=True)
    commit, fork = [], []
    for turn in range(rounds):
        alone = commits(side, alice, group)
        read(side, bob, alone)
        commit.append(read(side, carol, alone))
        rivals = [commits(side, account, group) for account in (alice, bob)]
        fork.append(read(side, carol, *(rivals if turn % 2 else reversed(rivals))))
        read(side, alice, rivals[1])
        read(side, bob, rivals[0])
        # Who chose otherwise could not read it.
        said = side.send(carol, group, TEXT)
        side.receive(alice, said)
        side.receive(bob, said)
    return {"members": MEMBERS, "commit_ms": median(commit), "fork_ms": median(fork)}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as place:
        print(json.dumps(forks(Ours(Path(place)), int(sys.argv[2]))))
