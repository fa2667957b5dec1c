"""How long a command may take, and how it ends when it is interrupted."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.kit import NOWHERE, Home
from tests.cli.patience import make_patient

from mdk.testing import LocalRelay

ROOT = str(Path(__file__).parent.parent.parent)
TIMEOUT = 0.5
PATIENCE = 120.0
# How a process begins in which nothing but Ctrl-C ends a command.
BEGIN = f"import sys\nsys.path.append({ROOT!r})\nfrom tests.cli.patience import make_patient\nmake_patient()\n"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    make_patient(monkeypatch.setattr)


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A port that accepts connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield server


def url_of(server: socket.socket) -> str:
    return f"ws://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.usefixtures("patient")
def test_no_command_outlasts_its_timeout(tmp_path: Path, local: LocalRelay) -> None:
    """The relay has died, and something waits to be published."""
    own = Home(tmp_path, local.url)
    _, bob = own.pair()
    asyncio.run(local.pause())
    for command in (
        ["send", "Lunch", "into the void"],
        ["groups", "--sync"],
        ["history", "--sync", "Lunch"],
        ["invite", "Lunch", bob],
        ["promote", "Lunch", bob],
        ["accept"],
        ["leave", "--yes", "Lunch"],
        ["whoami", "--check"],
        ["init", "--name", "Alice"],
        ["listen", "--for", "0.1"],
    ):
        own.fails(68, *command, "-a", "alice", "--timeout", str(TIMEOUT))
    assert "into the void  [queued]" in own.mdk("history", "-a", "alice", "Lunch").out


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("relays", ["refused", "silent", "both"])
def test_making_an_account_without_a_relay_keeps_to_the_timeout(
    home: Home, silent: socket.socket, relays: str
) -> None:
    urls = {"refused": [NOWHERE], "silent": [url_of(silent)], "both": [NOWHERE, url_of(silent)]}
    options = [word for url in urls[relays] for word in ("--relay", url)]
    done = home.mdk("init", "--key", home.key("x"), *options, "--timeout", str(TIMEOUT))
    assert (done.code, "made" in done.out) == (68, True), done.err


def test_control_c_in_init_ends_at_once_and_leaves_a_whole_account(
    home: Home, silent: socket.socket
) -> None:
    (home.folder / "sitecustomize.py").write_text(BEGIN)
    home.more["PYTHONPATH"] = str(home.folder)
    name = err = ""
    for name in ("alice", "bob", "carol"):
        process = home.start(
            *("init", "-a", name, "--key", home.key(name), "--relay", url_of(silent)),
            *("--timeout", "3600"),
        )
        connection, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        connection.close()
        assert (process.returncode, out) == (130, "")
        assert err.endswith("mdk: interrupted\n")
        # What has no time to end in order within half a second, as on a busy machine, ends without further words.
        if "the account is made" in err:
            break
    assert "the account is made" in err
    # What is there is an account like any other.
    document = home.mdk("whoami", "-a", name, "--json").document
    assert document["relays"] == [url_of(silent)]
    home.done("verify", document["database"])
    done = home.mdk("init", "-a", name, "--relay", home.relay)
    assert (done.code, done.out.split()[0]) == (0, "opened"), done.err


def test_control_c_while_a_keyring_does_not_answer(home: Home) -> None:
    """A bus that accepts and says nothing: nothing has been made yet, and nothing is."""
    path = home.folder / "bus"
    home.more["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={path}"
    with socket.socket(socket.AF_UNIX) as bus:
        bus.bind(str(path))
        bus.listen()
        bus.settimeout(30)
        for offline in ([], ["--offline"]):
            options = ("--keyring-timeout", "3600", "--relay", home.relay)
            process = home.start("init", "--json", *options, *offline)
            connection, _ = bus.accept()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
            connection.close()
            assert (process.returncode, err.strip()) == (130, "mdk: interrupted")
            assert json.loads(out)["error"]["code"] == "interrupted"
            assert not (home.folder / "data" / "mdk" / "default" / "mdk.db").exists()
