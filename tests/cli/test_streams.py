"""Standard streams that are closed, and Ctrl-C before a command has begun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.kit import Done, Home

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX closes them")


def closed(home: Home, how: str, *arguments: str) -> Done:
    """Run a command in a shell that closes one of its streams."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$@" {how}', "sh", *home.command(*arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        cwd=home.folder,
        env=home.environment,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def test_nothing_comes_from_a_closed_stdin(home: Home) -> None:
    home.pair()
    done = closed(home, "<&-", "send", "-a", "alice", "Lunch")
    assert (done.code, done.out) == (64, "")
    assert "there is no text to send" in done.err
    done = closed(home, "<&-", "leave", "-a", "alice", "Lunch")
    assert (done.code, done.out) == (64, "")
    assert "--yes" in done.err


def test_what_a_closed_stdout_did_not_show_is_shown_the_next_time(home: Home) -> None:
    home.pair()
    # What needs no stdin goes on without one.
    assert closed(home, "<&-", "send", "-a", "alice", "Lunch", "hello").code == 0
    done = closed(home, ">&-", "listen", "-a", "bob", "--count", "1")
    assert done.code == 74
    assert done.err.startswith("mdk: "), done.err
    done = home.mdk("listen", "-a", "bob", "--count", "1", "--json")
    assert done.code == 0, done.err
    assert "hello" in done.out


def test_writing_to_a_closed_stdout_fails_as_on_a_full_disk(home: Home) -> None:
    home.account("alice")
    for command in ("groups -a alice", "whoami -a alice --json", "--help"):
        for how in (">&-", "> /dev/full"):
            done = closed(home, how, *command.split())
            assert done.code == 74, (command, how)
            assert done.err.startswith("mdk: "), (command, how)


def test_a_pipe_that_nobody_reads_takes_nothing(home: Home) -> None:
    home.pair()
    home.prepare("send", "-a", "alice", "Lunch", "hello")
    database = str(home.folder / "data" / "mdk" / "alice" / "mdk.db")
    for arguments in (
        ("verify", database),
        ("doctor", "--json", database),
        ("groups", "-a", "alice"),
        ("whoami", "-a", "alice", "--json"),
        ("history", "-a", "alice", "Lunch", "--json"),
        ("--help",),
        ("send", "--help"),
        ("--version",),
    ):
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = subprocess.run(
                home.command(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=subprocess.PIPE,
                text=True,
                timeout=60,
                cwd=home.folder,
                env=home.environment,
            )
        finally:
            os.close(writing)
        assert (done.returncode, done.stderr) == (74, ""), arguments


def test_an_error_that_stdout_does_not_take_is_told_on_stderr(home: Home) -> None:
    for how in (">&-", "> /dev/full"):
        done = closed(home, how, "whoami", "--json")
        assert done.code == 66, how
        assert "mdk init" in done.err, how


def test_nobody_reads_errors_that_go_nowhere(home: Home) -> None:
    done = closed(home, "2>&-", "groups")
    assert (done.code, done.out, done.err) == (66, "", "")
    done = closed(home, "<&- >&- 2>&-", "groups")
    assert (done.code, done.out, done.err) == (66, "", "")


# Imported by Python before anything of ours: it presses Ctrl-C when a certain module is about to be imported.
_PRESS = """
import os, signal, sys

class Press:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["PRESS_AT"]:
            os.kill(os.getpid(), signal.SIGINT)
        return None

sys.meta_path.insert(0, Press())
"""


@pytest.mark.parametrize("at", ["mdk.errors", "mdk._mdk", "mdk.cli", "click", "mdk.cli.listen"])
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("script", [False, True])
def test_ctrl_c_while_it_starts(
    home: Home, tmp_path: Path, at: str, as_json: bool, script: bool
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_PRESS)
    command = home.command("groups", *(["--json"] if as_json else []))
    if script:
        # As an installer writes it.
        program = tmp_path / "mdk"
        program.write_text("import sys\nfrom mdk.cli import main\nsys.exit(main())\n")
        module = command.index("-m")
        command[module : module + 2] = [str(program)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=home.folder,
        env={**home.environment, "PYTHONPATH": str(tmp_path), "PRESS_AT": at},
    )
    assert done.stderr == "mdk: interrupted\n"
    assert done.returncode == 130
    assert (json.loads(done.stdout)["exit_code"] if as_json else done.stdout) == (
        130 if as_json else ""
    )


def test_a_program_that_uses_the_package_keeps_its_own_ctrl_c(tmp_path: Path) -> None:
    program = tmp_path / "mdk"
    program.write_text(
        "import signal\nimport mdk\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
    )
    for command in ([str(program)], ["-c", program.read_text()]):
        done = subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            timeout=60,
            env=dict(os.environ),
        )
        assert done.returncode == 0, done.stderr
