"""What a command waits for: what it is about, and nothing else."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from tests.cli.kit import Home, served

from mdk.testing import LocalRelay

KEY_PACKAGE = 30443
# Seconds for what no relay takes in any time: enough to connect and to be refused, also on a busy machine.
PATIENCE = "8"
REFUSALS = ["blocked: kind not allowed", "restricted: pay first", "auth-required: not you"]


@pytest.fixture
def own(tmp_path: Path, local: LocalRelay) -> Home:
    """A user of a relay that has faults."""
    return Home(tmp_path, local.url)


def everywhere(home: Home, name: str, *relays: LocalRelay) -> None:
    """Keep the account connected until each relay has its KeyPackage: `init` ends when one has it."""
    process = home.start("listen", "-a", name)
    try:
        for relay in relays:
            asyncio.run(relay.until(lambda one: one.count(KEY_PACKAGE) > 0, 30))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def test_commands_do_not_wait_for_a_key_package_that_relays_refuse(
    own: Home, local: LocalRelay
) -> None:
    """The guests' KeyPackages have been used, and nobody takes the next ones."""
    commands = {
        "bob": ["groups", "--sync"],
        "carol": ["members", "Lunch", "--sync"],
        "dave": ["accept"],
        "erin": ["whoami", "--check"],
    }
    own.account("alice")
    guests = [own.account(name) for name in commands]
    own.done("invite", "-a", "alice", "--new", "Lunch", *guests)
    for name in commands:
        own.done("accept", "-a", name, "--all")
    for words, guest in zip(REFUSALS, guests, strict=False):
        local.refuse(kinds={KEY_PACKAGE}, reason=words)
        for name, command in {**commands, "alice": ["promote", "Lunch", guest]}.items():
            own.done(*command, "-a", name, "--timeout", "30", "--json")


@pytest.mark.parametrize("words", REFUSALS)
def test_init_says_that_no_relay_takes_the_key_package(
    own: Home, local: LocalRelay, words: str
) -> None:
    local.refuse(kinds={KEY_PACKAGE}, reason=words)
    options = ("-a", "carol", "--key", own.key("carol"), "--relay", local.url)
    done = own.fails(76, "init", *options, "--timeout", "60")
    assert "made" in done.out
    assert words in done.out
    assert "mdk init --account carol --relay URL" in done.out
    assert "No relay of yours was reached" not in done.out
    # Nor do other commands wait for a KeyPackage that there never was.
    own.account("dave", "--offline")
    assert own.done("accept", "-a", "dave", "--timeout", "30").out == "no invites\n"
    done = own.mdk("init", "-a", "carol", "--json")
    assert (done.code, done.document["exit_code"], done.document["reachable"]) == (76, 76, False)
    assert list(done.document["refused"].values()) == [words]
    local.accept()
    assert own.done("init", "-a", "carol", "--json").document["reachable"]


def test_init_does_not_call_a_relay_away_that_puts_the_key_package_off(
    own: Home, local: LocalRelay
) -> None:
    local.refuse(kinds={KEY_PACKAGE}, reason="rate-limited: slow down")
    options = ("-a", "carol", "--key", own.key("carol"), "--relay", local.url)
    done = own.fails(68, "init", *options, "--timeout", PATIENCE)
    assert f"No relay took your KeyPackage within {PATIENCE} s" in done.out
    assert "No relay of yours was reached" not in done.out


async def test_a_relay_that_goes_away_while_one_listens_was_reached(tmp_path: Path) -> None:
    async with LocalRelay() as relay:
        home = Home(tmp_path, relay.url)
        await asyncio.to_thread(home.account, "alice")
        patience, until_away, tries = 2, 3, 0
        while True:
            await relay.until(lambda one: one.connections == 0, 60)
            arguments = ("listen", "-a", "alice", "--json", "--for", "5", "--timeout")
            listening = asyncio.create_task(
                asyncio.to_thread(home.process, *arguments, str(patience))
            )
            await relay.until(lambda one: one.connections > 0, 60)
            await asyncio.sleep(until_away)
            await relay.pause()
            done = await listening
            # A busy machine may need longer to ask for everything, so one good attempt is enough.
            if "still trying" not in done.err:
                break
            tries += 1
            assert tries < 5, done.err
            await relay.resume()
        assert done.code == 0, done.err
        assert [line["event"] for line in done.lines] == ["relay_complete"], done.out


def test_what_relays_say_while_a_message_waits_is_shown(own: Home, local: LocalRelay) -> None:
    own.pair()
    local.refuse(kinds={445}, reason="error: disk full")
    command = ("send", "Lunch", "later", "--timeout", PATIENCE)
    done = own.fails(68, *command, "-a", "alice", "--json")
    assert done.document["errors"] == {local.url: "error: disk full"}
    done = own.fails(68, *command, "-a", "bob")
    assert f"{local.url}: error: disk full\n" in done.out


def test_what_another_group_waits_for_is_not_waited_for(own: Home, local: LocalRelay) -> None:
    with served(LocalRelay()) as new:
        own.account("alice")
        bob = own.account("bob", "--relay", local.url, relay=new.url)
        everywhere(own, "bob", new, local)
        own.done("invite", "-a", "alice", "--new", "Old", bob)
        own.done("init", "-a", "alice", "--relay", new.url)
        asyncio.run(local.pause())
        own.fails(68, "send", "-a", "alice", "Old", "waits", "--timeout", "1")
        patient = ("--timeout", "30", "--json")
        made = own.done("invite", "-a", "alice", "--new", "New", bob, *patient)
        joined = own.done("accept", "-a", "bob", "--all", *patient).document["joined"]
        assert "New" in [one["name"] for one in joined]
        own.done("promote", "-a", "alice", "New", bob, *patient)
        own.done("demote", "-a", "alice", "New", *patient)
        left = own.done("leave", "-a", "alice", "New", "--yes", *patient).document
        assert (left["group"], left["state"]) == (made.document["group"]["id"], "leaving")


def test_what_a_command_made_and_no_relay_took_is_told_with_the_group(
    own: Home, local: LocalRelay
) -> None:
    """Whoever runs it again must know that the group is there."""
    _, bob = own.pair()
    local.refuse(kinds={445, 1059}, reason="rate-limited: slow down")
    command = ("invite", "-a", "alice", "--new", "Far", bob, "--timeout", PATIENCE)
    plain = own.mdk(*command)
    assert plain.code == 68, plain.err
    assert "founded, and invited 1 person" in plain.out
    assert f"No relay took it within {PATIENCE} s" in plain.out
    done = own.mdk(*command, "--json")
    assert (done.code, done.document["exit_code"]) == (68, 68), done.err
    assert done.document["waiting"] is True
    assert done.document["group"]["name"] == "Far"
    assert done.document["group"]["member_count"] == 2
    done = own.mdk("leave", "-a", "bob", "Lunch", "--yes", "--timeout", PATIENCE, "--json")
    assert (done.code, done.document["exit_code"]) == (68, 68), done.err
    assert (done.document["waiting"], done.document["state"]) == (True, "leaving")
    groups = own.done("groups", "-a", "alice", "--json").document["groups"]
    assert [one["name"] for one in groups].count("Far") == 2
