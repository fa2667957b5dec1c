"""Who is an admin, and leaving."""

from __future__ import annotations

import os
import platform
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.kit import Done, Home


def admins(home: Home, account: str) -> set[str]:
    done = home.mdk("members", "-a", account, "--sync", "Lunch", "--json")
    return {one["public_key"] for one in done.document["members"] if one["is_admin"]}


def test_admins_come_and_go(home: Home) -> None:
    alice, bob = home.pair()
    done = home.fails(79, "leave", "-a", "alice", "--yes", "Lunch")
    assert "mdk demote" in done.err
    done = home.fails(79, "demote", "-a", "alice", "Lunch")
    assert "mdk promote GROUP NPUB" in done.err
    done = home.fails(79, "promote", "-a", "bob", "Lunch", bob)
    assert "Ask an admin" in done.err
    done = home.done("promote", "-a", "alice", "Lunch", bob, "--json")
    assert {one["public_key"] for one in done.document["members"] if one["is_admin"]} == {
        alice,
        bob,
    }
    assert admins(home, "bob") == {alice, bob}
    done = home.done("demote", "-a", "alice", "Lunch")
    assert f"{alice}  you" in done.out
    assert admins(home, "bob") == {bob}
    done = home.done("leave", "-a", "alice", "--yes", "Lunch", "--json")


def test_what_makes_no_sense_is_told_in_the_words_of_the_command(home: Home) -> None:
    alice, bob = home.pair()
    stranger = home.account("carol")
    for command, people, told in (
        ("invite", [bob], f"mdk: {bob} is a member already."),
        ("invite", [alice], "mdk: you are a member already."),
        ("invite", [alice, bob], f"mdk: you, {bob} are members already."),
        ("promote", [stranger], f"mdk: {stranger} is not a member."),
        ("promote", [alice], "mdk: you are an admin already."),
        ("demote", [stranger], f"mdk: {stranger} is not an admin."),
        ("demote", [bob], f"mdk: {bob} is not an admin."),
    ):
        done = home.fails(64, command, "-a", "alice", "Lunch", *people)
        assert done.err.startswith(told), done.err
        assert "mdk members GROUP" in done.err
    done = home.mdk("demote", "-a", "bob", "Lunch")
    assert (done.code, done.err.partition(".")[0]) == (64, "mdk: you are not an admin")
    assert admins(home, "bob") == {alice}


def test_a_member_is_removed_for_good(home: Home) -> None:
    alice, bob = home.pair()
    done = home.fails(64, "remove", "-a", "alice", "Lunch", home.account("carol"))
    assert "is not a member" in done.err
    done = home.done("remove", "-a", "alice", "Lunch", bob, "--seal", "--json", "--timeout", "60")
    assert [member["public_key"] for member in done.document["members"]] == [alice]
    (group,) = home.mdk("groups", "-a", "alice", "--json").document["groups"]
    assert (group["sealing"], group["contested"], group["epoch"] >= 7) == (0, False, True)


def test_a_group_has_a_name_to_be_called_by(home: Home) -> None:
    home.account("alice")
    done = home.fails(64, "invite", "-a", "alice", "--new", "", home.account("bob"))
    assert "name" in done.err
    assert home.mdk("groups", "-a", "alice").out == "no groups yet\n"


READ = {"x86_64": "0", "aarch64": "63"}
"""The number of read(2)."""


# Seconds in which a command at a terminal shows something or ends.
PATIENCE = 60.0


def reads_a_line(process: subprocess.Popen[str]) -> bool:
    """Whether a process waits for its terminal; true where that cannot be seen."""
    number = READ.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return True
    return Path(f"/proc/{process.pid}/syscall").read_text().split()[:2] == [number, "0x0"]


def shown_next(master: int, running: subprocess.Popen[str], before: bytes) -> bytes:
    """What a command shows next at its terminal; nothing at its end. One that is stuck has to say where."""
    if not select.select([master], [], [], PATIENCE)[0]:
        running.send_signal(signal.SIGABRT)
        while select.select([master], [], [], 1)[0]:
            try:
                before += os.read(master, 1024)
            except OSError:
                break
        pytest.fail(f"stuck after {PATIENCE:g} s: {before.decode(errors='replace')}")
    try:
        return os.read(master, 1024)
    except OSError:  # the other end is closed
        return b""


def at_a_terminal(home: Home, *arguments: str, press: bytes = b"") -> Done:
    """Run a command whose stdin and stderr are a terminal; `press` is typed once it has asked."""
    master, terminal = pty.openpty()
    running = subprocess.Popen(
        home.command(*arguments),
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        cwd=home.folder,
        env={**home.environment, "PYTHONFAULTHANDLER": "1"},
        # Ctrl-C comes from its own terminal.
        start_new_session=True,
    )
    os.close(terminal)
    shown = b""
    try:
        while more := shown_next(master, running, shown):
            shown += more
            if press and b"[y/N]:" in shown:
                if press == b"\x03":
                    # (between the question and the reading Python would not hear of it)
                    begun = time.monotonic()
                    while not reads_a_line(running):
                        assert running.poll() is None
                        assert time.monotonic() - begun < PATIENCE
                        time.sleep(0.01)
                    running.send_signal(signal.SIGINT)
                else:
                    os.write(master, press)
                press = b""
        out, _ = running.communicate(timeout=60)
    finally:
        running.kill()
        running.wait()
        os.close(master)
    err = shown.decode()
    assert "Traceback" not in err, err
    return Done(running.returncode, out, err)


def test_nobody_is_asked_for_what_they_may_not_do(home: Home) -> None:
    _, bob = home.pair()
    done = at_a_terminal(home, "leave", "-a", "alice", "Lunch", press=b"y\n")
    assert done.code == 79
    assert "Leave" not in done.err
    assert "mdk promote GROUP NPUB, mdk demote GROUP" in done.err
    home.done("promote", "-a", "alice", "Lunch", bob)
    done = at_a_terminal(home, "leave", "-a", "alice", "Lunch", press=b"y\n")
    assert done.code == 79
    assert "Leave" not in done.err
    assert "mdk demote GROUP" in done.err
    done = at_a_terminal(home, "leave", "-a", "alice", "Nowhere", press=b"y\n")
    assert done.code == 66
    assert "Leave" not in done.err


def test_leaving_asks_or_has_to_be_told_and_the_last_member_ends_the_group(home: Home) -> None:
    home.pair()
    for options in (["--json"], []):
        done = home.fails(64, "leave", "-a", "bob", "Lunch", *options)
        assert "--yes" in done.err, options
    for press, code in ((b"n\n", 130), (b"\x03", 130), (b"y\n", 0)):
        done = at_a_terminal(home, "leave", "-a", "bob", "Lunch", press=press)
        assert done.code == code, (press, done.err)
        assert "Leave 'Lunch'?" in done.err, press
        (group,) = home.mdk("groups", "-a", "bob", "--all", "--json").document["groups"]
        assert (group["state"] == "active") is (code != 0), press
    assert len(admins(home, "alice")) == 1
    done = home.done("leave", "-a", "alice", "--yes", "Lunch", "--json")
    assert done.document["state"] == "disbanded"
    assert home.mdk("groups", "-a", "alice").out == "no groups yet\n"
