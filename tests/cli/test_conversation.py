"""Accounts, groups and messages, as a shell sees them."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.cli.kit import Home, texts

from mdk import Config


def test_two_people_in_a_shell(home: Home) -> None:
    alice, bob = home.pair()
    done = home.mdk("send", "-a", "alice", "Lunch", "Soup or sandwich?", "--json")
    assert (done.code, done.err) == (0, "")
    sent = done.document
    assert (sent["delivery"], sent["errors"]) == ("accepted", {})
    asked = sent["message"]["id"]

    done = home.done("send", "-a", "bob", "Lunch", "--reply-to", asked[:12], text="Soup.\nHot.\n")
    assert done.out.startswith("sent")

    history = home.mdk("history", "-a", "alice", "Lunch", "--sync", "--json").lines
    assert texts(history) == ["Soup or sandwich?", "Soup.\nHot."]
    assert [line["sender"] for line in history] == [alice, bob]
    assert history[1]["reply_to"] == asked
    assert [line["is_mine"] for line in history] == [True, False]
    shown = home.mdk("history", "-a", "alice", "Lunch", "--ids").out
    assert asked[:10] in shown
    assert "Soup.\n    Hot." in shown
    assert home.mdk("history", "-a", "alice", "Lunch", "-n", "1", "--json").lines == history[1:]
    page = home.mdk("history", "-a", "alice", "Lunch", "--before", history[1]["id"], "--json").lines
    assert page == history[:1]

    (group,) = home.mdk("groups", "-a", "alice", "--json").document["groups"]
    assert (group["name"], group["member_count"], group["state"]) == ("Lunch", 2, "active")
    found = home.mdk("members", "-a", "bob", group["id"][:8], "--json").document["members"]
    assert {(one["public_key"], one["is_admin"], one["is_me"]) for one in found} == {
        (alice, True, False),
        (bob, False, True),
    }
    assert f"{bob}  you" in home.mdk("members", "-a", "bob", "Lunch").out


def test_invites_are_listed_accepted_and_declined(home: Home) -> None:
    alice, bob = home.account("alice", "--name", "Alice"), home.account("bob")
    for name in ("One", "Two", "Three"):
        done = home.done(
            "invite", "-a", "alice", "--new", name, f"nostr:{bob}", "--description", name
        )
    waiting = home.mdk("accept", "-a", "bob", "--json").document["invites"]
    assert sorted(one["group_name"] for one in waiting) == ["One", "Three", "Two"]
    assert {one["inviter"] for one in waiting} == {alice}
    assert f"from {alice}" in home.mdk("accept", "-a", "bob").out
    by_name = {one["group_name"]: one["id"] for one in waiting}
    done = home.done("accept", "-a", "bob", by_name["One"][:16])
    assert "joined" in done.out
    done = home.mdk("accept", "-a", "bob", "--decline", by_name["Two"], "--json")
    assert (done.code, done.document["declined"]) == (0, 1)
    assert home.mdk("accept", "-a", "bob", by_name["One"]).code == 66
    assert home.mdk("accept", "-a", "bob", "--from", alice, "--json").document["joined"]
    assert home.mdk("accept", "-a", "bob").out == "no invites\n"
    names = [one["name"] for one in home.mdk("groups", "-a", "bob", "--json").document["groups"]]
    assert sorted(names) == ["One", "Three"]


def test_inviting_into_a_group_that_is_there(home: Home) -> None:
    home.pair()
    carol = home.account("carol")
    done = home.mdk("invite", "-a", "bob", "Lunch", carol, "--json")
    assert (done.code, done.document["error"]["code"]) == (79, "not_admin")
    done = home.done("invite", "-a", "alice", "Lunch", carol)
    assert "invited 1 person" in done.out
    home.done("accept", "-a", "carol", "--all")
    done = home.done("leave", "-a", "carol", "Lunch", "--yes", "--json")
    assert done.document["state"] in {"leaving", "left"}
    home.done("groups", "-a", "alice", "--sync")
    done = home.mdk("members", "-a", "alice", "--sync", "Lunch", "--json")
    assert carol not in {one["public_key"] for one in done.document["members"]}


def test_listening_with_a_cursor_leaves_nothing_out_and_repeats_nothing(home: Home) -> None:
    home.pair()
    heard: list[str] = []
    # What was sent within one second has no order that a relay could give back.
    for turn in range(2):
        for number in range(2):
            home.done("send", "-a", "alice", "Lunch", f"{turn}.{number}")
        done = home.done(
            *("listen", "-a", "bob", "--json", "--cursor-file", "cursor"),
            *("--count", "2", "--for", "30"),
        )
        assert all({"event", "cursor", "group_id"} <= set(line) for line in done.lines)
        received = [line for line in done.lines if line["event"] == "message_received"]
        heard += sorted(line["message"]["text"] for line in received)
    assert heard == [f"{turn}.{number}" for turn in range(2) for number in range(2)]
    assert (home.folder / "cursor").read_text().strip().isdecimal()
    cursor = (home.folder / "cursor").read_text().strip()
    again = home.mdk("listen", "-a", "bob", "--json", "--after", cursor, "--for", "0.2")
    assert "message_received" not in again.out
    start = home.mdk("listen", "-a", "bob", "--json", "--from-start", "--count", "4", "--for", "30")
    assert [line["event"] for line in start.lines].count("message_received") == 4


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_listening_shows_what_comes_and_ends_when_asked(home: Home, end: signal.Signals) -> None:
    home.pair()
    home.done("send", "-a", "alice", "Lunch", "while away")
    process = home.start("listen", "-a", "bob")
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first.endswith("while away\n"), first + process.communicate()[1]
    assert "Lunch" in first
    home.done("send", "-a", "alice", "Lunch", "live \x1b[31mred\u202e")
    # What others wrote cannot command the terminal.
    assert process.stdout.readline().endswith("live \\u001b[31mred\\u202e\n")
    process.send_signal(end)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def test_a_reader_that_goes_away_is_no_fault(home: Home) -> None:
    home.pair()
    for number in range(3):
        home.done("send", "-a", "alice", "Lunch", f"{number} " + "x" * 20_000)
    process = home.start("history", "-a", "alice", "Lunch", "--json")
    with process:
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_the_record_is_complete_and_says_so(home: Home) -> None:
    alice, bob = home.pair()
    said = [f"message {number}" for number in range(3)]
    for text in said:
        home.done("send", "-a", "alice", "Lunch", text)
    began = datetime.now(UTC).replace(microsecond=0)
    done = home.done("export", "-a", "bob", "--sync")
    kinds = [line["type"] for line in done.lines]
    record = ["account", "group", "member", "member", *["message"] * 3]
    assert kinds == [*record, "complete", "end"]
    # As of when this command asked.
    complete = done.lines[-2]
    assert complete["relay"] == home.relay
    assert began <= datetime.fromisoformat(complete["as_of"]) <= datetime.now(UTC)
    assert sorted(texts([line for line in done.lines if line["type"] == "message"])) == said
    assert done.lines[0]["npub"] == bob
    assert (done.lines[-1]["messages"], done.lines[-1]["gaps"]) == (3, 0)
    assert {line["public_key"] for line in done.lines if line["type"] == "member"} == {alice, bob}
    written = home.mdk("export", "-a", "bob", "Lunch", "-o", "lunch.ndjson")
    assert (written.code, written.out) == (0, "")
    file = home.folder / "lunch.ndjson"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [json.loads(line)["type"] for line in file.read_text().splitlines()] == [*record, "end"]
    before = file.read_bytes()
    assert home.mdk("export", "-a", "bob", "Lunch", "-o", "lunch.ndjson").code == 73
    assert file.read_bytes() == before


def test_the_bot_answers_those_who_are_allowed(home: Home) -> None:
    alice = home.account("alice")
    process = home.start(
        *("bot", "echo", "-a", "echo", "--key", home.key("echo"), "--relay", home.relay),
        *("--allow", alice, "--json"),
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    npub = json.loads(line)["npub"]
    # It says who it is before a relay has its KeyPackage.
    invite = "invite", "-a", "alice", "--new", "Talk", npub
    done = home.mdk(*invite)
    for _ in range(50):
        if done.code != 67:
            break
        done = home.done(*invite)
    # An answer names what it answers: there is no room for all of this one.
    long = "x" * (Config().max_message_bytes - 180)
    while home.mdk("send", "-a", "alice", "Talk", text=long).code != 0:
        long = long[20:]
    home.done("send", "-a", "alice", "Talk", "hello")
    done = home.mdk(
        "listen", "-a", "alice", "--from-start", "--json", "--count", "2", "--for", "30"
    )
    said = [line["message"] for line in done.lines if line["event"] == "message_received"]
    assert {one["sender"] for one in said} == {npub}
    shortened, answer = [one["text"] for one in said]
    assert answer == "hello"
    assert len(long) // 2 < len(shortened) < len(long)
    assert long.startswith(shortened)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def test_demo(home: Home) -> None:
    done = home.done("demo")
    assert "Soup" in done.out
    done = home.mdk("demo", "--json")
    assert (done.code, done.err) == (0, "")
    # One document and nothing before or after it.
    told = json.loads(done.out)
    assert (told["command"], told["exit_code"]) == ("demo", 0)
    assert (told["group"], told["members"], told["gift_wraps"]) == ("Lunch", 2, 1)
    said = [(line["author"], line["text"], line["reactions"]) for line in told["messages"]]
    assert said == [
        ("Alice", "Soup or sandwich?", []),
        ("Bob", "Soup.", ["🥣"]),
        ("Alice", "Are you still there?", []),
    ]
    # Three messages, a reaction and a change of keys at least.
    assert told["group_events"] >= 5
    assert told["epoch"] >= 2
    assert told["database_bytes"] > 0
    assert bytes.fromhex(told["database_head"]) != b"SQLite f"
    assert told["seconds"] > 0
    assert not (home.folder / "data").exists()


def test_an_account_by_its_path(home: Home) -> None:
    path = Path("somewhere") / "mdk.db"
    npub = home.account(str(path))
    assert (home.folder / path).exists()
    assert home.mdk("whoami", "-a", path, "--npub").out.strip() == npub
    assert home.mdk("whoami", "-a", "./somewhere", "--npub").out.strip() == npub
    assert home.mdk("whoami", "--npub", MDK_ACCOUNT=str(path)).out.strip() == npub
