"""What a script can branch on, and what a person is told."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
from tests.cli.kit import NOWHERE, Home, texts

from mdk import Config, DatabaseKey, Keys, Mdk, errors
from mdk.cli import exit_codes


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
    for command in (["whoami"], ["groups"], ["send", "Lunch", "x"], ["listen"], ["export"]):
        done = home.mdk(*command, "--json")
        assert done.code == 66, command
        assert "mdk init" in done.document["error"]["hint"]
        assert "mdk init" in done.err
    assert not (home.folder / "data").exists()


def test_the_network_is_away(home: Home) -> None:
    """An account can be made and looked at; what needs a relay says so."""
    done = home.mdk(
        "init", "-a", "lonely", "--key", home.key("lonely"), "--relay", NOWHERE, "--timeout", "0.5"
    )
    assert done.code == 68
    assert "made" in done.out
    # Which relay, why, and what can be done.
    assert re.search(rf"relay +{NOWHERE}/?  backing-off: \w", done.out), done.out
    assert "mdk init --account lonely --relay URL" in done.out
    done = home.mdk("whoami", "-a", "lonely", "--check", "--timeout", "0.5", "--json")
    assert (done.code, done.document["exit_code"]) == (68, 68)
    assert done.document["relays"] == [NOWHERE]
    assert done.document["status"][0]["state"] != "connected"
    done = home.mdk("groups", "-a", "lonely", "--sync", "--timeout", "0.5")
    assert (done.code, done.out) == (68, "")
    assert "relay" in done.err
    assert home.mdk("groups", "-a", "lonely").code == 0


def test_what_no_relay_took_goes_out_later(home: Home, tmp_path: Path) -> None:
    with socket.socket() as held:
        # Held while the relay is away, or somebody else may get it. (on Linux two can bind what nobody listens on)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = str(held.getsockname()[1])
        relay = home.start("relay", "--port", port, "--json")
        assert relay.stdout is not None
        url = json.loads(relay.stdout.readline())["url"]
        own = Home(tmp_path, url)
        own.pair()
        relay.terminate()
        relay.communicate()
        done = own.mdk(
            "send", "-a", "alice", "Lunch", "into the void", "--timeout", "0.5", "--json"
        )
        assert (done.code, done.document["delivery"]) == (68, "queued")
        shown = own.mdk("history", "-a", "alice", "Lunch").out
        assert "into the void  [queued]" in shown
        again = home.start("relay", "--port", port, "--json")
        assert again.stdout is not None
        assert again.stdout.readline()
        assert own.mdk("groups", "-a", "alice", "--sync").code == 0
        done = own.mdk("history", "-a", "bob", "Lunch", "--sync", "--json")
        assert texts(done.lines) == ["into the void"]
        again.terminate()
        again.communicate(timeout=20)
        assert again.returncode == 0


def test_nobody_is_invited_who_cannot_be(home: Home) -> None:
    home.account("alice")
    stranger = Keys.generate().public_key.npub
    done = home.mdk("invite", "-a", "alice", "--new", "Lunch", stranger, "--json")
    assert (done.code, done.document["error"]["code"]) == (67, "key_package_not_found")
    assert stranger in done.err
    assert home.mdk("groups", "-a", "alice").out == "no groups yet\n"
    done = home.mdk("invite", "-a", "alice", "--new", "Lunch", "npub1nonsense")
    assert done.code == 64
    assert "nonsense" not in done.err


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
    done = home.mdk(*arguments)
    assert done.code == 64, done.err
    assert done.out == ""
    assert "mdk" in done.err
    assert not (home.folder / "data").exists()


def test_an_account_that_is_open(home: Home) -> None:
    home.account("alice")
    path = home.folder / "data" / "mdk" / "alice" / "mdk.db"
    key = DatabaseKey.from_file(home.folder / "alice.key")
    with Mdk._open_account(path, keys=None, key=key, config=Config(), clock=None):
        for command in (["groups"], ["send", "Lunch", "x"], ["listen"], ["whoami"]):
            done = home.mdk(*command, "-a", "alice")
            assert done.code == 75, command
            assert str(os.getpid()) in done.err


def test_an_identity_from_outside(home: Home) -> None:
    keys = Keys.generate()
    secret = home.folder / "nsec"
    secret.write_text(keys.reveal_nsec())
    secret.chmod(0o644)
    done = home.mdk(
        *("init", "--key", home.key("x"), "--relay", home.relay, "--identity-file", secret)
    )
    assert done.code in {64, 77}, "others may read it"
    secret.chmod(0o600)
    done = home.mdk(
        *("init", "--key", home.key("x"), "--relay", home.relay, "--identity-file", secret)
    )
    assert done.code == 0, done.err
    assert home.mdk("whoami", "--npub").out.strip() == keys.public_key.npub
    nsec = keys.reveal_nsec()
    by_env = home.mdk(
        *("init", "-a", "env", "--key", home.key("e"), "--relay", home.relay, "--offline"),
        *("--identity-env", "PLANTED"),
        PLANTED=nsec,
    )
    assert by_env.code == 0, by_env.err
    assert home.mdk("whoami", "-a", "env", "--npub").out.strip() == keys.public_key.npub
    assert nsec not in done.out + done.err + by_env.out + by_env.err


def test_the_port_is_taken(home: Home) -> None:
    port = home.relay.rpartition(":")[2]
    done = home.mdk("relay", "--port", port)
    assert done.code == 75
    assert done.err.startswith("mdk: ")


def test_a_relay_listens_on_the_loopback_only(home: Home) -> None:
    assert home.relay.startswith("ws://127.0.0.1:")
    port = home.relay.rpartition(":")[2]
    listening = subprocess.run(["ss", "-ltn"], capture_output=True, text=True, check=False).stdout
    if listening:
        assert f"0.0.0.0:{port}" not in listening
        assert f"*:{port}" not in listening
