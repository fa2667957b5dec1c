"""Who is an admin, and leaving."""

from __future__ import annotations

import pytest
from tests.cli.kit import Home


def admins(home: Home, account: str) -> set[str]:
    done = home.mdk("members", "-a", account, "--sync", "Lunch", "--json")
    return {one["public_key"] for one in done.document["members"] if one["is_admin"]}


def test_admins_come_and_go(home: Home) -> None:
    alice, bob = home.pair()
    done = home.mdk("leave", "-a", "alice", "--yes", "Lunch")
    assert done.code == 79
    assert "mdk demote" in done.err
    done = home.mdk("demote", "-a", "alice", "Lunch")
    assert done.code == 79
    assert "mdk promote GROUP NPUB" in done.err
    done = home.mdk("promote", "-a", "bob", "Lunch", bob)
    assert done.code == 79
    assert "Ask an admin" in done.err
    done = home.mdk("promote", "-a", "alice", "Lunch", bob, "--json")
    assert done.code == 0, done.err
    assert {one["public_key"] for one in done.document["members"] if one["is_admin"]} == {
        alice,
        bob,
    }
    assert admins(home, "bob") == {alice, bob}
    done = home.mdk("demote", "-a", "alice", "Lunch")
    assert done.code == 0, done.err
    assert f"{alice}  you" in done.out
    assert admins(home, "bob") == {bob}
    done = home.mdk("leave", "-a", "alice", "--yes", "Lunch", "--json")
    assert done.code == 0, done.err


@pytest.mark.parametrize("options", [["--json"], []])
def test_leaving_has_to_be_confirmed(home: Home, options: list[str]) -> None:
    home.account("alice")
    assert home.mdk("invite", "-a", "alice", "--new", "Alone", home.account("bob")).code == 0
    done = home.mdk("leave", "-a", "alice", "Alone", *options)
    assert done.code == 64
    assert "--yes" in done.err
    (group,) = home.mdk("groups", "-a", "alice", "--json").document["groups"]
    assert group["state"] == "active"


def test_the_last_member_ends_the_group(home: Home) -> None:
    home.pair()
    done = home.mdk("leave", "-a", "bob", "--yes", "Lunch", "--json")
    assert done.code == 0, done.err
    assert len(admins(home, "alice")) == 1
    done = home.mdk("leave", "-a", "alice", "--yes", "Lunch", "--json")
    assert (done.code, done.document["state"]) == (0, "disbanded"), done.err
    assert home.mdk("groups", "-a", "alice").out == "no groups yet\n"
