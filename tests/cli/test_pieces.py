"""Single pieces of the command line, without a process or a network."""

from __future__ import annotations

import builtins
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mdk import Delivery, GroupId, GroupInfo, GroupState, Keys, Mdk, RelayStatus, errors
from mdk.cli import identity, output, qr, records, session
from mdk.cli.app import app
from mdk.cli.exit_codes import ExitCode
from mdk.cli.key_record import recorded
from mdk.cli.keys import KeySource


def test_help_of_every_command() -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["--help"]).output
    for command in app.commands:
        assert f"\n  {command} " in shown
        done = runner.invoke(app, [command, "--help"])
        assert done.exit_code == 0
        assert len(done.output.splitlines()) > 5
        if command not in {"bot", "completion"}:
            assert "--json" in done.output


ACTIVE = [
    *range(0x7F, 0xA0),
    *(0x061C, 0x200E, 0x200F, 0x2028, 0x2029),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
]


def test_json_has_nothing_that_acts_on_who_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(map(chr, ACTIVE))
    document = {"text": f"grüße 😀 {text}\x1b[2J", text: [text]}
    output.show(True, document, [])
    output.record(document)
    shown = capsys.readouterr().out
    assert not any(chr(code) in shown for code in [*ACTIVE, 0x1B])
    assert "\\u0085" in shown
    assert "\\u202e" in shown
    assert "grüße 😀" in shown
    whole, line = shown.rsplit("\n", 2)[:2]
    assert json.loads(whole) == json.loads(line) == document
    output.failure(True, "code", text, text, ExitCode.REFUSED)
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["message"] == text
    assert not any(chr(code) in captured.out for code in ACTIVE)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    done = CliRunner().invoke(app, ["completion", shell])
    assert done.exit_code == 0
    assert "_MDK_COMPLETE" in done.output


def test_completion_of_commands_and_accounts(tmp_path: Path) -> None:
    account = tmp_path / "mdk" / "alice"
    account.mkdir(parents=True)
    (account / "mdk.db").touch()
    environment = {"XDG_DATA_HOME": str(tmp_path), "_MDK_COMPLETE": "bash_complete"}

    def complete(words: str) -> list[str]:
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        done = CliRunner().invoke(app, env={**environment, **asked}, prog_name="mdk")
        return [line.partition(",")[2] for line in done.output.splitlines()]

    assert complete("mdk who") == ["whoami"]
    assert complete("mdk whoami --account al") == ["alice"]
    assert "--json" in complete("mdk send --js")


def test_what_others_wrote_cannot_command_a_terminal() -> None:
    assert (
        records.clean("a\x1b[2Jb\x07\u202ec\u2066\x9bd")
        == "a\\u001b[2Jb\\u0007\\u202ec\\u2066\\u009bd"
    )
    assert records.clean("two\nlines\tand 👩‍🍳 é") == "two\nlines\tand 👩‍🍳 é"
    assert records.one_line("two\nlines\r") == "two lines\\u000d"
    assert records.clean("\ud800") == "\\ud800"


def test_values_as_json() -> None:
    key = Keys.generate().public_key
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    assert records.plain((key, moment, timedelta(hours=1), Delivery.QUEUED, None, {"a": (1,)})) == [
        key.npub,
        "2026-01-02T00:00:00+00:00",
        3600.0,
        "queued",
        None,
        {"a": [1]},
    ]
    assert records.plain(frozenset({"b", "a"})) == ["a", "b"]


def test_events_as_json() -> None:
    with Mdk.in_memory() as alice:
        with alice.create_group("Lunch", relays=["wss://relay.example"]) as pending:
            group = pending.confirm()
        (joined,) = [e for e in alice.events() if type(e).__name__ == "Joined"]
        line = records.event(joined)
        assert (line["event"], line["group_id"]) == ("joined", group.id)
        assert isinstance(line["group"], dict)
        assert line["group"]["name"] == "Lunch"
        json.dumps(line)


def test_a_group_is_picked_by_name_or_id() -> None:
    with Mdk.in_memory() as alice:
        for name in ("Lunch", "Dinner", "Dinner"):
            with alice.create_group(name, relays=["wss://relay.example"]) as pending:
                pending.confirm()
        groups = alice.groups()
        lunch = next(group for group in groups if group.name == "Lunch")
        assert session.pick(groups, "Lunch") == lunch
        assert session.pick(groups, lunch.id) == lunch
        assert session.pick(groups, lunch.id[:10].upper()) == lunch
        with pytest.raises(errors.GroupNotFound, match="several") as caught:
            session.pick(groups, "Dinner")
        assert caught.value.hint is not None
        assert sum(group.id[:10] in caught.value.hint for group in groups) == 2
        for wanted in ("lunch", "", "abc", lunch.id[:3]):
            with pytest.raises(errors.GroupNotFound, match="no group"):
                session.pick(groups, wanted)
        assert lunch.state is GroupState.ACTIVE


def founded() -> GroupInfo:
    with Mdk.in_memory() as alice:
        pending = alice.create_group("Board", relays=["wss://relay.example"])
        return pending.confirm()


def group_of(info: GroupInfo, *, name: str, digits: str, state: str = "active") -> GroupInfo:
    return replace(info, name=name, id=GroupId(digits), state=GroupState(state))


def test_a_name_that_looks_like_the_id_of_another_group_does_not_take_its_place() -> None:
    """Names are made by others: who reads the first digits of an id off a screen must not write to them."""
    info = founded()
    board = group_of(info, name="Board", digits="ab12cd34" * 4)
    for digits in ("ab12", "ab12cd34ab", "AB12CD34AB"):
        trap = group_of(info, name=digits, digits="ee" * 16)
        for groups in ([board, trap], [trap, board]):
            with pytest.raises(errors.GroupNotFound, match="several groups are meant") as caught:
                session.pick(groups, digits)
            hint = caught.value.hint or ""
            assert board.id in hint
            assert trap.id in hint
            assert session.pick(groups, board.id) == board
            assert session.pick(groups, trap.id) == trap
            # Whoever only invites us, and whom we have not answered, stands in nobody's way.
            waiting = replace(trap, state=GroupState.PENDING)
            assert session.pick([board, waiting], digits) == board
    # One group under both is one.
    assert session.pick([group_of(info, name="ab12", digits="ab12" * 8)], "ab12").name == "ab12"


@pytest.mark.parametrize("length", [32, 64])
def test_a_full_id_always_means_the_id(length: int) -> None:
    info = founded()
    board = group_of(info, name="Board", digits="a1" * (length // 2))
    trap = group_of(info, name=board.id, digits="ee" * 16)
    for wanted in (board.id, board.id.upper()):
        assert session.pick([trap, board], wanted) == board
        # Also when the group with this id is not here (any more).
        with pytest.raises(errors.GroupNotFound, match="no group"):
            session.pick([replace(trap, name=wanted)], wanted)


def test_a_relay_that_does_not_answer_or_loses_events_is_shown() -> None:
    well = RelayStatus("wss://a.example", "connected", None, None, None)
    assert identity._relay_line(well) == "relay     wss://a.example  connected"
    bad = replace(well, unanswered=4, lost=2)
    assert identity._relay_line(bad).endswith("connected  [4 unanswered, 2 lost]")


def test_the_bar() -> None:
    assert "connecting" in session.progress_line(0, 0, 0)
    assert "asking" in session.progress_line(1, 0, 0)
    line = session.progress_line(1, 5_000, 2_500)
    assert "50%" in line
    assert "2,500 of 5,000 events" in line
    assert line.count("#") == line.count(".") == 15


def test_where_the_key_is_recorded(tmp_path: Path) -> None:
    database = tmp_path / "mdk.db"
    record = tmp_path / "mdk.db.keyinfo"
    assert recorded(database) is None

    def slot(**values: str) -> KeySource | None:
        record.write_text(
            json.dumps({"format": 1, "state": "ready", "key": {"check": "x", **values}})
        )
        return recorded(database)

    assert slot(source="file", path="/a/b") == KeySource("file", "/a/b")
    assert slot(source="file", path="b") == KeySource("file", str(tmp_path / "b"))
    assert slot(source="keyring", service="mdk", key_id="7") == KeySource("keyring", "mdk/7")
    assert slot(source="secret", key_id="name") == KeySource("secret", "name")
    assert slot(source="env", key_id="NAME") == KeySource("env", "NAME")
    assert slot(source="passphrase") == KeySource("passphrase", "")
    for odd in ({"source": "raw"}, {"source": "callback"}, {"source": "file"}, {"source": "fd"}):
        assert slot(**odd) is None
    for text in ("", "[]", '{"key": 1}', '{"key": null}'):
        record.write_text(text)
        assert recorded(database) is None


def test_a_qr_code(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("segno")
    assert qr.show("nostr:nprofile1" + "q" * 100)
    drawn = capsys.readouterr().out.splitlines()
    assert len(drawn) > 15
    assert len({len(line) for line in drawn}) <= 2


def test_without_the_extra_there_is_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "segno":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    assert not qr.show("text")
    captured = capsys.readouterr()
    assert captured.out == ""
    # What an index has, also while it does not have this package.
    assert "pip install 'segno" in captured.err
