"""Every program and every session in the documents is run: what the user reads is executed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.blocks import ROOT, blocks, documents, programs, steps
from tests.docs.masks import localized, masked, same, without

MOST_NOT_RUN = 3
DOCUMENTS = [path for path in documents() if programs(path)]
# Secret Service in a session of its own, as on a desktop: programs use the default key.
KEYRING = 'printf password | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1; exec "$@"'


def in_a_session(home: Path) -> list[str]:
    needed = ("dbus-run-session", "gnome-keyring-daemon")
    if missing := [tool for tool in needed if shutil.which(tool) is None]:
        if os.environ.get("MDK_REQUIRE_KEYRINGS") == "1":
            pytest.fail(f"not installed: {missing}")
        pytest.skip(f"not installed: {missing}")
    start = f'export HOME="{home}" XDG_RUNTIME_DIR="{home}"; unset DISPLAY; {KEYRING}'
    return ["dbus-run-session", "--", "sh", "-c", start, "sh"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_runs_and_shows_what_it_says(document: Path, tmp_path: Path) -> None:
    home, folder = tmp_path / "keyring", tmp_path / "stage"
    home.mkdir(mode=0o700)
    folder.mkdir(mode=0o700)
    done = subprocess.run(
        [*in_a_session(home), sys.executable, "-m", "tests.docs.play", str(document), str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr


def test_the_first_program_of_the_readme_shows_both_messages(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    heading, rest = text.split("```python\n", 1)
    code = rest.split("```", 1)[0]
    assert heading.endswith("one group, eighteen lines\n\n")
    assert sum(bool(line.strip()) for line in code.splitlines()) == 18
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    shown = [line.split(": ", 1)[1] for line in done.stdout.splitlines()]
    assert shown == ["Soup or sandwich?", "Soup."]


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    reasons = {block.name: block.reason for path in documents() for block in blocks(path)}
    left_out = {name: reason for name, reason in reasons.items() if reason is not None}
    assert len(left_out) <= MOST_NOT_RUN, left_out
    for name, reason in left_out.items():
        assert len(reason.split()) > 3, f"{name}: no reason"


def test_the_harness_sees_every_fence() -> None:
    """A fence that it does not understand would be a block that nobody runs."""
    for path in documents():
        fences = sum(
            line.startswith("```") for line in path.read_text(encoding="utf-8").splitlines()
        )
        assert fences == 2 * len(blocks(path)), path.name
        for block in blocks(path):
            if block.language == "console" and block.runs:
                steps(block)


def test_names_of_the_network_are_replaced() -> None:
    code = 'relays=["wss://relay.one", "wss://relay.two"], allow=["npub1' + "q" * 58 + '"]'
    shown = localized(code, ["ws://127.0.0.1:1", "ws://127.0.0.1:2"], "npub1partner")
    assert shown == 'relays=["ws://127.0.0.1:1", "ws://127.0.0.1:2"], allow=["npub1partner"]'


@pytest.mark.parametrize(
    ("shown", "seen", "equal"),
    [
        (["255 pages"], ["1,027 pages"], True),
        (["a"], ["b"], False),
        (["one", "..."], ["one", "two", "three"], True),
        (["...", "three"], ["one", "two", "three"], True),
        (["...", "two", "..."], ["one", "two", "three"], True),
        (["...", "four", "..."], ["one", "two", "three"], False),
        (["one", "...", "two"], ["one", "two"], True),
        (["one", "...", "one"], ["one"], False),
        (["id deadbeef01 end"], ["id 0123456789abcdef end"], True),
        (["2026-11-25 17:22  Lunch"], ["2027-01-01 03:04  Lunch"], True),
        (["two lines"], [], False),
    ],
)
def test_what_counts_as_the_same_output(shown: list[str], seen: list[str], equal: bool) -> None:
    assert same(shown, seen) is equal


def test_what_depends_on_the_machine_is_left_out_with_its_advice() -> None:
    screen = ["ok space 5 bytes", "WARNING memory little", "      -> get more", "ok core none"]
    assert without(screen, ["memory"]) == ["ok space 5 bytes", "ok core none"]
    assert without(screen, []) == screen
    assert without(["", "ok"], ["memory"]) == ["", "ok"]


def test_words_are_no_ids() -> None:
    assert masked("accepted  defaced") == "accepted defaced"
    assert masked("npub1" + "q" * 58 + " x") == "<npub> x"
