"""What a person is told to do: in words of the shell, who has to act, and commands that work when they are pasted."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
from pathlib import Path

import pytest
from tests.cli.kit import Home, served

from mdk import DatabaseKey, Keys, Mdk, errors
from mdk.cli import hints
from mdk.cli.app import app
from mdk.testing import LocalRelay

# Words of the Python API: a call, an attribute, an argument.
API = re.compile(
    r"\w\(\)|\w\(\w+[=)]|\bMdk\b|DatabaseKey|Config\b|(?:^| )\.\w|\w=\S|\bcall(?:s|ed)?\b|`mdk\."
)
ALL = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("command", ["send", "invite", "leave", "rekey", "restore"])
def test_no_hint_speaks_of_calls(command: str) -> None:
    for kind in ALL:
        _, hint = hints.told(kind("it went wrong"), command)
        if kind not in {errors.MdkError, errors.TransportError, errors.GroupError}:
            assert hint or not kind.hint, kind
        assert hint is None or not API.search(hint), (kind, hint)
        for name in re.findall(r"\bmdk ([a-z]+)", hint or ""):
            assert name in app.commands, (kind, hint)


def test_what_was_written_for_programs_is_translated() -> None:
    error = errors.InvalidInput(
        "relays: none given", field="relays", hint="Name at least one: relays=['wss://…']."
    )
    assert hints.told(error, "groups") == (
        "--relay: none given",
        "Name one: mdk init --relay wss://…",
    )
    error = errors.InvalidInput("text: too large (limit 4, got 5)", field="text")
    message, hint = hints.told(error, "send")
    assert message == "text: too large (limit 4, got 5)"
    assert hint is not None
    assert "--help" in hint
    error = errors.InvalidInput("text: too large (limit 4, got 5)", limit=4, value=5)
    assert hints.told(error, "send")[1] == "Make it smaller: at most 4."
    refused = errors.NoRelayAccepted(
        "no relay accepted it", reasons={"wss://r": "blocked: \x1b no"}
    )
    assert hints.told(refused, "send")[0] == (
        'no relay accepted it: wss://r says "blocked: \\u001b no"'
    )


def test_without_a_keyring_the_command_that_is_shown_works_when_it_is_pasted(home: Home) -> None:
    asked = ["init", "-a", "alice", "--relay", home.relay, "--name", "Alice & Bob's"]
    done = home.process(*asked, "--key", "keyring", "--json")
    assert done.code == 69
    assert not (home.folder / "data").exists()
    place = home.folder / "data" / "mdk" / "alice" / "mdk.key"
    line = done.err.strip().rpartition("like this: ")[2]
    assert line == done.document["error"]["hint"].rpartition("like this: ")[2]
    words = shlex.split(line)
    assert words[words.index("init") :] == [
        *(*asked, "--json"),
        *("--key", f"file:{place}"),
    ]
    pasted = subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        env=home.environment,
        cwd=home.folder,
        timeout=60,
        check=False,
    )
    assert pasted.returncode == 0, pasted.stderr
    document = home.mdk("whoami", "-a", "alice", "--json").document
    assert (document["key_source"], document["account"]) == ("file", "alice")


def test_without_a_keyring_a_bot_says_the_same(home: Home) -> None:
    done = home.fails(
        69, *("bot", "echo", "-a", "x", "--key=keyring", "--allow", "anyone", "--relay", home.relay)
    )
    line = done.err.strip().rpartition("like this: ")[2]
    assert f"bot echo -a x --allow anyone --relay {home.relay} --key file:" in line


def test_the_keyring_of_an_account_that_is_there_is_not_replaced(home: Home) -> None:
    """Another key would not open it: the hint is to go where the keyring is."""
    home.account("alice")
    for command in (["groups"], ["init"], ["send", "Lunch", "x"]):
        done = home.mdk(*command, "-a", "alice", "--key", "keyring:mdk/7")
        assert done.code in {69, 78}, done.err
        assert "file:" not in done.err.replace("--to file:PATH", "")
    (home.folder / "alice.key").unlink()
    done = home.fails(78, "groups", "-a", "alice")
    assert str(home.folder / "alice.key") in done.err
    assert "If it was moved, name it once: --key file:PATH." in done.err


def test_who_has_to_act_when_somebody_cannot_be_invited(home: Home) -> None:
    home.pair()
    stranger = Keys.generate().public_key.npub
    for arguments in (["--new", "Dinner"], ["Lunch"]):
        done = home.mdk("invite", "-a", "alice", *arguments, stranger, "--json")
        assert (done.code, done.document["error"]["code"]) == (67, "key_package_not_found")
        assert stranger in done.err
        assert "They have to act" in done.err
    (group,) = home.mdk("groups", "-a", "alice", "--json").document["groups"]
    assert (group["name"], group["member_count"]) == ("Lunch", 2)


@pytest.mark.parametrize("command", ["invite", "promote", "demote", "accept"])
def test_a_wrong_npub_is_asked_for_again(home: Home, command: str) -> None:
    right = Keys.generate().public_key.npub
    wrong = right[:-1] + ("q" if right[-1] != "q" else "p")
    arguments = ["--from", wrong] if command == "accept" else ["Lunch", wrong]
    done = home.fails(64, command, *arguments)
    assert "npub" in done.err
    assert "ask the person" in done.err
    assert wrong not in done.err


def test_too_much_for_one_event_says_what_to_make_smaller(home: Home) -> None:
    home.pair()
    done = home.mdk("send", "-a", "alice", "Lunch", text="x" * 200_000)
    assert done.code in {64, 79}, done.err
    assert "too large" in done.err or "bytes" in done.err
    error = errors.GroupTooLarge("an invite has 70000 bytes, the relays take 65536")
    assert "fewer people" in str(hints.told(error, "invite")[1])
    assert "Shorten" in str(hints.told(error, "send")[1])


def test_what_every_relay_refuses_is_not_waited_for(tmp_path: Path) -> None:
    with served(LocalRelay(max_event_bytes=6000)) as relay:
        own = Home(tmp_path, relay.url)
        own.pair()
        done = own.fails(76, "send", "-a", "alice", "Lunch", text="x" * 10_000)
    assert "too large" in done.out
    assert "mdk init --relay URL" in done.out


def test_an_invite_that_no_relay_would_take(home: Home, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    relay = home.start("relay", "--json", "--port", str(port), "--max-event-bytes", "2048")
    assert relay.stdout is not None
    own = Home(tmp_path, json.loads(relay.stdout.readline())["url"])
    assert own.relay == f"ws://127.0.0.1:{port}"
    own.account("alice")
    done = own.fails(79, "invite", "-a", "alice", "--new", "Lunch", own.account("bob"))
    assert "Invite fewer people at once" in done.err
    assert own.mdk("groups", "-a", "alice").out == "no groups yet\n"
    relay.terminate()
    relay.communicate(timeout=20)
    assert relay.returncode == 0


def test_a_key_that_was_given_has_to_be_given_again(home: Home) -> None:
    path = home.folder / "raw" / "mdk.db"
    Mdk.open(path, keys=Keys.generate(), key=DatabaseKey.raw(bytes(range(32)))).close()
    done = home.fails(78, "verify", path)
    assert "--key fd:N" in done.err


def test_a_new_account_has_no_key_to_put_back(home: Home) -> None:
    for form, said in (
        ("env:NO_SUCH", 'export NO_SUCH="$('),
        ("secret:none", "Make one there first"),
    ):
        for command in (("init", "--offline"), ("init",), ("bot", "echo", "--allow", "anyone")):
            done = home.fails(78, *command, "--key", form, "--relay", home.relay)
            assert said in done.err
            assert "back" not in done.err
    assert not (home.folder / "data").exists()
    # What is said works.
    done = home.done(
        "init", "--offline", "--key", "env:MY_KEY", "--relay", home.relay, MY_KEY=RANDOM
    )
    # An account that is there has one.
    done = home.fails(78, "groups")
    assert "Put the key back" in done.err


RANDOM = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # 32 bytes, as of `openssl rand -base64 32`


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("the invite is not accepted yet", "mdk accept"),
        ("a leave was requested", "completes"),
        ("the group was disbanded", "ended for everybody"),
        ("left", "new invite"),
        ("removed", "new invite"),
    ],
)
def test_why_somebody_is_no_member(why: str, said: str) -> None:
    message, hint = hints.told(
        errors.NotMember(f"not an active member of this group: {why}"), "send"
    )
    assert why in message
    assert hint is not None
    assert said in hint
    assert not API.search(hint)


def test_people_are_invited_by_their_links_and_counted_once(home: Home) -> None:
    alice, bob, carol = (home.account(name) for name in ("alice", "bob", "carol"))
    link = home.mdk("whoami", "-a", "bob", "--json").document["invite_uri"]
    found = ("invite", "-a", "alice", "--new")
    assert home.done(*found, "Notes", alice).out.splitlines()[-1] == "founded, and invited nobody"
    done = home.done(*found, "Lunch", alice, link, carol, bob, link.upper(), "--json")
    assert done.document["invited"] == [bob, carol]
    done = home.fails(64, "invite", "-a", "alice", "Lunch", link)
    assert f"{bob} is a member already" in done.err
    done = home.fails(64, *found, "Lunch", link[:-1])
    assert link[:-1] not in done.err
