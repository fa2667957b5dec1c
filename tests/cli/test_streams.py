"""Standard streams that are closed, and Ctrl-C before a command has begun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.kit import Home

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX closes them")


def test_nothing_comes_from_a_closed_stdin(home: Home) -> None:
    home.pair()
    for command, said in (("send", "there is no text to send"), ("leave", "--yes")):
        done = home.process(command, "-a", "alice", "Lunch", how="<&-")
        assert (done.code, done.out) == (64, "")
        assert said in done.err


def test_what_a_closed_stdout_did_not_show_is_shown_the_next_time(home: Home) -> None:
    home.pair()
    # What needs no stdin goes on without one.
    assert home.process("send", "-a", "alice", "Lunch", "hello", how="<&-").code == 0
    done = home.process("listen", "-a", "bob", "--count", "1", how=">&-")
    assert done.code == 74
    assert done.err.startswith("mdk: "), done.err
    done = home.done("listen", "-a", "bob", "--count", "1", "--json")
    assert "hello" in done.out


@pytest.mark.parametrize(
    ("command", "how", "code", "said"),
    [
        # Writing fails as on a full disk.
        ("groups -a alice", ">&-", 74, "mdk: "),
        ("whoami -a alice --json", "> /dev/full", 74, "mdk: "),
        ("--help", ">&-", 74, "mdk: "),
        ("--help", "> /dev/full", 74, "mdk: "),
        # An error that stdout does not take is told on stderr.
        ("whoami --json", ">&-", 66, "mdk init"),
        ("whoami --json", "> /dev/full", 66, "mdk init"),
        # Nobody reads errors that go nowhere.
        ("groups", "2>&-", 66, ""),
        ("groups", "<&- >&- 2>&-", 66, ""),
    ],
)
def test_streams_that_are_closed_or_full(
    home: Home, command: str, how: str, code: int, said: str
) -> None:
    if "alice" in command:
        home.account("alice", "--offline")
    done = home.process(*command.split(), how=how)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert bool(done.err) is ("2>&-" not in how)


def test_a_pipe_that_nobody_reads_takes_nothing(home: Home) -> None:
    home.pair()
    home.done("send", "-a", "alice", "Lunch", "hello")
    database = str(home.folder / "data" / "mdk" / "alice" / "mdk.db")
    for arguments in (
        ("verify", database),
        ("doctor", "--json", database),
        ("groups", "-a", "alice"),
        ("history", "-a", "alice", "Lunch", "--json"),
        ("send", "--help"),
        ("--version",),
    ):
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = home.process(*arguments, stdout=writing)
        finally:
            os.close(writing)
        assert (done.code, done.err) == (74, ""), arguments


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


@pytest.mark.parametrize(
    ("at", "as_json", "script"),
    [
        ("mdk.errors", False, False),
        ("mdk._mdk", True, False),
        ("mdk.cli", False, True),
        ("click", True, True),
        ("mdk.cli.listen", False, False),
    ],
)
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
