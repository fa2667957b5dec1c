"""`mdk delete`: a group that is over goes, with all that was said in it."""

from __future__ import annotations

from tests.cli.kit import Home
from tests.cli.test_roles import at_a_terminal


def left(home: Home) -> str:
    """Bob has left Lunch, and alice's app is about to know it; the group's id."""
    home.pair()
    home.done("send", "-a", "alice", "Lunch", "soup")
    # It keeps a cursor for the group.
    done = home.done(
        *("listen", "-a", "bob", "--json", "--from-start", "--group", "Lunch"),
        *("--count", "1", "--for", "30"),
    )
    done = home.done("leave", "-a", "bob", "Lunch", "--yes", "--json")
    group = done.document["group"]
    assert isinstance(group, str)
    return group


def answered(home: Home) -> None:
    home.done("groups", "-a", "alice", "--sync")


def test_a_group_that_was_left_is_deleted_and_not_before(home: Home) -> None:
    group = left(home)
    done = home.mdk("delete", "-a", "bob", "Lunch", "--yes", "--json")
    assert (done.code, done.document["error"]["code"]) == (79, "not_allowed")
    assert "not completed your leave" in done.document["error"]["message"]
    answered(home)
    done = home.done("delete", "-a", "bob", "Lunch", "--sync", "--yes", "--json")
    assert done.document == {"command": "delete", "exit_code": 0, "group": group}
    done = home.mdk("groups", "-a", "bob", "--all", "--json")
    assert done.document["groups"] == []
    for arguments in (("history", "Lunch"), ("export", group), ("delete", "Lunch", "--yes")):
        assert home.mdk(*arguments, "-a", "bob").code == 66, arguments
    # Whoever is in it is not concerned, and cannot delete it.
    done = home.mdk("delete", "-a", "alice", "Lunch", "--yes")
    assert (done.code, done.out) == (79, "")
    assert "leave it first" in done.err
    done = home.mdk("history", "-a", "alice", "Lunch")
    assert "soup" in done.out


def test_it_asks_and_has_to_be_told_without_a_terminal(home: Home) -> None:
    left(home)
    answered(home)
    home.done("groups", "-a", "bob", "--sync")
    for more in ((), ("--json",)):
        done = home.fails(64, "delete", "-a", "bob", "Lunch", *more)
        assert "--yes" in done.out + done.err
    done = at_a_terminal(home, "delete", "-a", "bob", "Lunch", press=b"n\n")
    assert (done.code, "Delete 'Lunch'" in done.err) == (130, True)
    assert "soup" in home.mdk("history", "-a", "bob", "Lunch").out
    done = at_a_terminal(home, "delete", "-a", "bob", "Lunch", press=b"y\n")
    assert (done.code, done.out) == (0, "deleted\n")
    assert home.mdk("history", "-a", "bob", "Lunch").code == 66


def test_a_group_of_the_same_name_that_goes_on_is_left_alone(home: Home) -> None:
    left(home)
    answered(home)
    npub = home.mdk("whoami", "-a", "bob", "--json").document["npub"]
    home.done("invite", "-a", "alice", "--new", "Lunch", npub)
    done = home.done("accept", "-a", "bob", "--all", "--json")
    (fresh,) = done.document["joined"]
    home.done("delete", "-a", "bob", "Lunch", "--yes")
    done = home.mdk("groups", "-a", "bob", "--all", "--json")
    assert [(one["id"], one["state"]) for one in done.document["groups"]] == [
        (fresh["id"], "active")
    ]
