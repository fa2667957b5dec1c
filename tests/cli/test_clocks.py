"""`mdk doctor --relay`: whether the clock of this machine is right."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from mdk import DatabaseKey, Keys, Mdk, errors
from mdk._mdk import _AccountStore
from mdk.cli import clocks
from mdk.cli.app import app
from mdk.reports import Level


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        (0, Level.OK, "agrees"),
        (120, Level.OK, "agrees"),
        (-120, Level.OK, "agrees"),
        (121, Level.WARNING, "121 s ahead"),
        (300, Level.WARNING, "300 s ahead"),
        (301, Level.ERROR, "nobody can invite"),
        (-540, Level.WARNING, "540 s behind"),
    ],
)
def test_what_a_difference_means(ahead: int, level: Level, words: str) -> None:
    found = clocks.judged(ahead)
    assert (found.level, found.topic) == (level, "clock")
    assert words in found.text
    assert (found.hint is None) == (level is Level.OK)


class Slow(HTTPServer):
    """A relay whose clock says nine minutes less than ours, if it says anything."""

    dated = True


class Answer(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response_only(200)
        if Slow.dated:
            self.send_header("Date", formatdate(time.time() - 540, usegmt=True))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def slow() -> Iterator[str]:
    server = Slow(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"ws://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def written(folder: Path) -> dict[str, int]:
    """When each file was written last, but for the lock."""
    return {one.name: one.stat().st_mtime_ns for one in folder.iterdir() if one.suffix != ".lock"}


def test_the_doctor_asks_the_relays_of_the_account(
    slow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline, or where they do not answer, that is said, and no error."""
    database, key = tmp_path / "a" / "mdk.db", DatabaseKey.from_file(tmp_path / "key")
    keys = Keys.generate()

    def clock(*options: str) -> tuple[int, dict[str, str]]:
        done = CliRunner().invoke(app, ["doctor", str(database), "--json", *options])
        document = json.loads(done.output)
        *_, found = (one for one in document["findings"] if one["topic"] == "clock")
        return document["exit_code"], found

    def judged(code: int, found: dict[str, str]) -> None:
        assert (code, found["level"]) == (2, "error")
        assert "nobody can invite this account" in found["text"]

    assert "looked at from outside" in clock()[1]["text"]
    judged(*clock("--relay", slow))
    with Mdk.open(database, keys=keys, key=key) as mdk:
        _AccountStore(mdk).set_relays(["ws://127.0.0.1:9", slow])
        assert "not read" in clock()[1]["text"]
    before = written(database.parent)
    judged(*clock())
    assert clock("--offline")[1]["level"] == "note"
    assert clock("--relay", "ws://127.0.0.1:9")[1]["level"] == "note"
    monkeypatch.setattr(Slow, "dated", False)
    for options in ((), ("--relay", slow)):
        assert clock(*options)[1]["level"] == "note"
    assert written(database.parent) == before
    with Mdk.open(database, keys=keys, key=key) as mdk:
        _AccountStore(mdk).set_relays([])
    assert "the account has none" in clock()[1]["text"]


@pytest.mark.parametrize("wrong", ["relay.example", "https://relay.example", "wss://", "wss://x:y"])
def test_what_is_no_relay_is_refused(wrong: str) -> None:
    with pytest.raises(errors.InvalidRelayUrl):
        clocks.compared(wrong)
