"""What `mdk listen` says in plain text of what happens to a group."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from mdk import (
    CannotFollow,
    ChangeWithdrawn,
    Disbanded,
    EpochChanged,
    Event,
    GroupId,
    GroupUpdated,
    Keys,
    RemovalUndone,
    Unrecoverable,
)
from mdk.cli.cursors import Cursor
from mdk.cli.listen import _Shown

GROUP = GroupId("ab" * 16)
WHO = Keys.generate().public_key


def shown(happened: Event, *, contested: bool = False) -> str:
    """The line of an event in the group Lunch."""
    lunch = SimpleNamespace(name="Lunch", info=SimpleNamespace(contested=contested))
    client: Any = SimpleNamespace(groups={GROUP: lunch})
    return _Shown(client, None, None, Cursor(), as_json=False)._line(happened)


def undone(*, demoted: bool) -> RemovalUndone:
    return RemovalUndone(
        GROUP, "1", account=WHO, demoted=demoted, by=None, when=datetime(2026, 1, 2, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("retained_state_lost", "until an admin invites you again"),
        ("own_commit_lost", "another copy of this database"),
        ("joined_on_a_lost_branch", "answer the new invite"),
        ("left_behind", "the others have gone on without you"),
        ("of a later version", "only a new invite, or a backup, helps"),
    ],
)
def test_a_group_that_cannot_go_on(reason: str, said: str) -> None:
    line = shown(Unrecoverable(GROUP, "1", reason=reason))
    assert line.startswith("Lunch  ")
    assert said in line


def test_what_a_choice_of_branches_undid() -> None:
    line = shown(ChangeWithdrawn(GROUP, "1", commit="cd" * 32))
    assert line == "Lunch  a change of the group was withdrawn: another branch won"


@pytest.mark.parametrize(
    ("demoted", "said"), [(False, "back, though removed"), (True, "an admin again")]
)
def test_a_removal_that_was_undone(demoted: bool, said: str) -> None:
    line = shown(undone(demoted=demoted))
    assert WHO.npub[:15] in line
    assert said in line
    assert "the group is contested" in line.lower()


def test_a_group_that_is_contested() -> None:
    late = CannotFollow(GROUP, "1", epoch=3)
    assert "contested" in shown(late, contested=True)
    assert "came too late to be judged" in shown(late)


def test_the_end_of_a_group() -> None:
    assert shown(Disbanded(GROUP, "1", by=WHO)) == "Lunch  the group was ended for everybody"


def test_what_people_need_not_see_has_no_line() -> None:
    assert not shown(EpochChanged(GROUP, "1", old=1, new=2, commit=None))


def test_a_group_that_one_relay_carries_alone() -> None:
    info: Any = SimpleNamespace(relays=("wss://one.example",), contested=False)
    lunch = SimpleNamespace(name="Lunch", info=info, relays_to_add=("wss://own.example",))
    client: Any = SimpleNamespace(groups={GROUP: lunch})
    listening = _Shown(client, None, None, Cursor(), as_json=False)
    promoted = GroupUpdated(GROUP, "1", changed=frozenset({"admins"}), by=None, commit=None)
    line = listening._line(promoted)
    assert line.startswith("Lunch  one relay alone carries it (wss://one.example)")
    assert "wss://own.example" in line
    renamed = GroupUpdated(GROUP, "1", changed=frozenset({"name"}), by=None, commit=None)
    assert not listening._line(renamed)
    lunch.relays_to_add = ()
    assert not listening._line(promoted)


def test_every_line_is_one_and_short() -> None:
    events = [
        *(undone(demoted=demoted) for demoted in (False, True)),
        *(Unrecoverable(GROUP, "1", reason=r) for r in ("own_commit_lost", "left_behind", "x")),
        CannotFollow(GROUP, "1", epoch=3),
    ]
    for event in events:
        line = shown(event, contested=True)
        assert "\n" not in line
        assert len(line) <= 160
