"""Where `mdk listen` begins when it is not told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.cli.kit import NOWHERE, Home

from mdk import Client, DatabaseKey


def listen(home: Home, *options: str, count: int) -> list[str]:
    """The next messages that Bob is shown."""
    done = home.mdk(
        *("listen", "-a", "bob", "--json", "--count", str(count), "--for", "30", *options)
    )
    assert done.code == 0, done.err
    return [line["message"]["text"] for line in done.lines if line["event"] == "message_received"]


def say(home: Home, text: str, group: str = "Lunch") -> None:
    home.done("send", "-a", "alice", group, text)


def test_it_goes_on_where_it_ended_also_behind_what_other_commands_fetched(home: Home) -> None:
    home.pair()
    say(home, "one")
    assert listen(home, count=1) == ["one"]
    say(home, "two")
    home.done("groups", "-a", "bob", "--sync")
    assert "two" in home.mdk("history", "-a", "bob", "Lunch").out
    say(home, "three")
    assert listen(home, count=2) == ["two", "three"]
    # Looking elsewhere does not move that place.
    say(home, "four")
    assert listen(home, "--from-start", count=4) == ["one", "two", "three", "four"]
    assert listen(home, "--after", "0", count=4) == ["one", "two", "three", "four"]
    assert listen(home, count=1) == ["four"]


def test_programs_are_told_as_of_when_a_relay_is_complete(home: Home) -> None:
    home.pair()
    say(home, "one")
    say(home, "two")
    began = datetime.now(UTC).replace(microsecond=0)
    process = home.start("listen", "-a", "bob", "--json")
    lines: list[dict[str, Any]] = []
    with process:
        assert process.stdout is not None
        while not lines or lines[-1]["event"] != "relay_complete":
            lines.append(json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
    *before, complete = lines
    texts = [line["message"]["text"] for line in before if line["event"] == "message_received"]
    assert sorted(texts) == ["one", "two"]
    assert (complete["relay"], complete["cursor"]) == (home.relay, before[-1]["cursor"])
    assert began <= datetime.fromisoformat(complete["as_of"]) <= datetime.now(UTC)


def test_what_is_no_chat_is_shown_and_not_counted(home: Home) -> None:
    home.pair()
    path, key = home.folder / "data" / "mdk" / "alice" / "mdk.db", home.folder / "alice.key"

    async def begin_a_stream() -> None:
        async with Client.open(path, key=DatabaseKey.from_file(key)) as alice:
            (group,) = alice.groups
            begin = "a stream begins"
            await alice._session.change(lambda mdk: mdk.create_message(group.id, begin, kind=1200))

    asyncio.run(begin_a_stream())
    home.done("groups", "-a", "bob", "--sync")
    say(home, "the answer")
    assert listen(home, "--from-start", count=1) == ["a stream begins", "the answer"]


def test_a_group_has_a_place_of_its_own(home: Home) -> None:
    _, bob = home.pair()
    home.done("invite", "-a", "alice", "--new", "Dinner", bob)
    home.done("accept", "-a", "bob", "--all")
    say(home, "soup")
    say(home, "wine", "Dinner")
    assert listen(home, count=2) in (["soup", "wine"], ["wine", "soup"])
    say(home, "bread")
    say(home, "cheese", "Dinner")
    assert listen(home, "--group", "Dinner", count=1) == ["cheese"]
    assert sorted(listen(home, count=2)) == ["bread", "cheese"]


def unread(home: Home) -> int:
    """What `mdk groups` says that Bob has not read."""
    done = home.done("groups", "-a", "bob", "--sync", "--json")
    (group,) = done.document["groups"]
    return int(group["unread_count"])


def test_what_was_shown_is_read(home: Home) -> None:
    home.pair()
    say(home, "one")
    assert unread(home) == 1
    assert "1 unread" in home.mdk("groups", "-a", "bob").out
    assert "one" in home.mdk("history", "-a", "bob", "Lunch").out
    assert unread(home) == 0
    assert "unread" not in home.mdk("groups", "-a", "bob").out
    say(home, "two")
    say(home, "three")
    assert unread(home) == 2
    # An older page marks what it shows, not what is behind it.
    lines = home.mdk("history", "-a", "bob", "Lunch", "--json").lines
    say(home, "four")
    assert unread(home) == 1
    older = home.mdk("history", "-a", "bob", "Lunch", "--json", "--before", lines[-1]["id"])
    assert [line["text"] for line in older.lines] == ["one", "two"]
    assert unread(home) == 1
    # Two of the four were shown before: listening shows all, and so marks the last.
    assert listen(home, "--from-start", count=4) == ["one", "two", "three", "four"]
    assert unread(home) == 0


@pytest.fixture
def lonely(home: Home) -> Home:
    """An account whose relay is away."""
    home.done("init", "--offline", "--key", home.key("lonely"), "--relay", NOWHERE)
    return home


def test_groups_says_which_one_relay_carries_alone(lonely: Home) -> None:
    """As phones found them: with a relay that is not the only one of the account."""
    path, key = lonely.folder / "data" / "mdk" / "default" / "mdk.db", lonely.folder / "lonely.key"

    async def found() -> None:
        client = Client.open(path, key=DatabaseKey.from_file(key))
        await client.start()
        for name, relays in (("Lunch", ["wss://one.example"]), ("Dinner", [NOWHERE])):
            client.engine.create_group(name, relays=relays).confirm()
        await client.close()

    asyncio.run(found())
    done = lonely.done("groups")
    (said,) = [line for line in done.out.splitlines() if "one relay alone carries it" in line]
    assert "(wss://one.example)" in said
    assert NOWHERE in said


def test_when_no_relay_was_reached_it_says_so(lonely: Home) -> None:
    for options in ((), ("--count", "1")):
        done = lonely.mdk("listen", "--for", "0.2", *options)
        assert (done.code, done.out) == (68, "")
        (said,) = done.err.splitlines()
        # Each relay is named, with what it is at.
        assert said.startswith(f"mdk: no relay was reached within 0.2 s: {NOWHERE} (")
        assert "). Look at your network" in said
    done = lonely.fails(68, "listen", "--for", "0.2", "--json")
    (line,) = done.lines
    assert (line["error"]["code"], line["exit_code"]) == ("not_connected", 68)


@pytest.mark.parametrize(
    ("written", "said"),
    [("999999", "this cursor is not this account's"), ("abc", "holds no cursor")],
)
def test_a_cursor_that_is_none_of_this_account(lonely: Home, written: str, said: str) -> None:
    file = lonely.folder / "cursor"
    file.write_text(f"{written}\n")
    done = lonely.fails(64, "listen", "--for", "0.1", "--cursor-file", "cursor", "--json")
    assert said in json.loads(done.out)["error"]["message"]
    assert "Remove the file to begin anew: cursor" in done.err
    assert "smaller" not in done.err
    # It was not replaced: it may be another account's.
    assert file.read_text() == f"{written}\n"
    done = lonely.fails(64, "listen", "--for", "0.1", "--after", written)
    assert said in done.err
    assert "smaller" not in done.err


def test_a_cursor_file_that_is_no_file_is_not_waited_for(lonely: Home) -> None:
    os.mkfifo(lonely.folder / "cursor")
    (lonely.folder / "folder").mkdir()
    for place in ("cursor", "folder"):
        done = lonely.fails(77, "listen", "--for", "0.1", "--cursor-file", place, "--json")
        assert json.loads(done.out)["error"]["code"] == "not_a_regular_file"
        assert "the cursor file is not a regular file" in done.err


def test_a_cursor_file_that_cannot_be_written_is_named_as_it_was_given(lonely: Home) -> None:
    place = lonely.folder / "nowhere" / "c"
    done = lonely.fails(66, "listen", "--for", "0.1", "--cursor-file", place)
    assert str(place) in done.err
    assert not Path(f"{place}.part").exists()
    assert ".part" not in done.err
