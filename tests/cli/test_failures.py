"""What a script can branch on, and what a person is told."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from pathlib import Path

import pytest
from tests.cli.kit import NOWHERE, Home, texts

from mdk import Config, DatabaseKey, Keys, errors
from mdk._mdk import _open_account
from mdk.cli import exit_codes
from mdk.testing import LocalRelay


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.KeyPackageNotFound(), 67),
        (errors.IncompatibleMember(), 67),
        (errors.GroupNotFound(), 66),
        (errors.InviteNotFound(), 66),
        (errors.NotConnected(), 68),
        (errors.OutboxFull(), 68),
        (errors.NoRelayAccepted(), 76),
        (errors.RelayRefused(), 76),
        (errors.PortTaken(), 75),
        (errors.NotAdmin(), 79),
        (errors.CommitLost(), 79),
        (errors.GroupTooLarge(), 79),
        (errors.KeysMissing(), 78),
        (errors.InvalidRelayUrl(), 64),
    ],
)
def test_exit_codes_of_errors(error: errors.MdkError, code: int) -> None:
    assert exit_codes.of(error) == code


def test_an_account_that_is_not_there(home: Home) -> None:
    for command in (
        ["whoami"],
        ["groups"],
        ["send", "Lunch", "x"],
        ["listen"],
        ["history", "Lunch"],
        ["export"],
    ):
        done = home.fails(66, *command, "--json")
        assert "mdk init" in done.document["error"]["hint"]
        assert "mdk init" in done.err
        # (among documents of one line an error is one, too)
        one_line = command[0] in {"listen", "history", "export"}
        assert (len(done.out.splitlines()) == 1) is one_line
    assert not (home.folder / "data").exists()


def test_the_network_is_away(home: Home) -> None:
    """An account can be made and looked at; what needs a relay says so."""
    brief = ("-a", "lonely", "--timeout", "0.5")
    done = home.fails(68, "init", *brief, "--key", home.key("lonely"), "--relay", NOWHERE)
    assert "made" in done.out
    assert "No relay of yours was reached" in done.out
    # Which relay, why, and what can be done.
    assert re.search(rf"relay +{NOWHERE}/?  backing-off: \w", done.out), done.out
    assert "mdk init --account lonely --relay URL" in done.out
    done = home.mdk("whoami", "--check", "--json", *brief)
    assert (done.code, done.document["exit_code"]) == (68, 68)
    assert done.document["relays"] == [NOWHERE]
    assert done.document["status"][0]["state"] != "connected"
    somebody = Keys.generate().public_key.npub
    for command in (
        ["invite", "--new", "Lunch", somebody],
        ["accept"],
        ["groups", "--sync"],
        ["export", "--sync"],
    ):
        done = home.mdk(*command, *brief)
        assert (done.code, done.out) == (68, ""), command
        assert "mdk whoami --check" in done.err, command
    home.done("groups", "-a", "lonely")


def test_what_no_relay_took_goes_out_later(tmp_path: Path, local: LocalRelay) -> None:
    own = Home(tmp_path, local.url)
    own.pair()
    asyncio.run(local.pause())
    send = ("send", "-a", "alice", "Lunch", "into the void")
    done = own.mdk(*send, "--timeout", "0.5", "--json")
    assert (done.code, done.document["delivery"]) == (68, "queued")
    shown = own.mdk("history", "-a", "alice", "Lunch").out
    assert "into the void  [queued]" in shown
    asyncio.run(local.resume())
    own.done("groups", "-a", "alice", "--sync")
    done = own.mdk("history", "-a", "bob", "Lunch", "--sync", "--json")
    assert texts(done.lines) == ["into the void"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["init"],
        ["init", "--relay", "https://relay.example", "--key", "file:x.key"],
        ["init", "--relay", "wss://r.example", "--identity-env", "A", "--identity-fd", "0"],
        ["init", "--relay", "wss://r.example", "--offline", "--name", "A"],
        ["send"],
        ["send", "Lunch", ""],
        ["invite", "Lunch"],
        ["accept", "abc", "--all"],
        ["listen", "--after", "1", "--from-start"],
        ["listen", "--count", "0"],
        ["history", "Lunch", "--limit", "0"],
        ["groups", "--timeout", "nan"],
        ["listen", "--for", "nan"],
        ["listen", "--for", "inf"],
        ["whoami", "--keyring-timeout", "nan"],
        ["bot"],
        ["bot", "echo"],
        ["bot", "echo", "--allow", "anyone", "--allow", "npub1x"],
        ["relay", "--port", "70000"],
        ["completion", "tcsh"],
        ["whoami", "--account", ":memory:"],
        ["whoami", "--account", "a b"],
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: list[str], home: Home) -> None:
    done = home.fails(64, *arguments)
    assert done.out == ""
    assert "mdk" in done.err
    assert not (home.folder / "data").exists()


def test_an_account_that_is_open(home: Home) -> None:
    home.account("alice")
    path = home.folder / "data" / "mdk" / "alice" / "mdk.db"
    key = DatabaseKey.from_file(home.folder / "alice.key")
    with _open_account(path, keys=None, key=key, config=Config(), clock=None):
        for command in (["groups"], ["send", "Lunch", "x"], ["listen"], ["whoami"]):
            assert home.mdk(*command, "-a", "alice").code == 75, command
        done = home.process("groups", "-a", "alice")
        assert done.code == 75
        assert str(os.getpid()) in done.err


def test_an_identity_from_outside(home: Home) -> None:
    keys = Keys.generate()
    nsec, npub = keys.reveal_nsec(), keys.public_key.npub
    secret = home.folder / "nsec"
    secret.write_text(nsec)
    secret.chmod(0o644)
    init = ("init", "--key", home.key("x"), "--relay", home.relay, "--identity-file", secret)
    done = home.fails(77, *init)
    # (it is no key of a database)
    assert "rekey" not in done.err
    assert "chmod 600" in done.err
    assert "another identity" in done.err
    secret.chmod(0o600)
    done = home.done(*init)
    by_env = home.done(
        *("init", "-a", "env", "--key", home.key("e"), "--relay", home.relay, "--offline"),
        *("--identity-env", "PLANTED"),
        PLANTED=nsec,
    )
    for options in ((), ("-a", "env")):
        assert home.mdk("whoami", "--npub", *options).out.strip() == npub
    assert nsec not in done.out + done.err + by_env.out + by_env.err
    pasted = home.fails(64, "accept", "--from", nsec)
    assert "that is an nsec" in pasted.err
    assert nsec not in pasted.err


def test_the_port_is_taken(home: Home) -> None:
    port = home.relay.rpartition(":")[2]
    done = home.fails(75, "relay", "--port", port)
    assert done.err.startswith("mdk: ")


def test_a_relay_listens_on_the_loopback_only(home: Home) -> None:
    assert home.relay.startswith("ws://127.0.0.1:")
    port = home.relay.rpartition(":")[2]
    listening = subprocess.run(["ss", "-ltn"], capture_output=True, text=True, check=False).stdout
    if listening:
        assert f"0.0.0.0:{port}" not in listening
        assert f"*:{port}" not in listening
