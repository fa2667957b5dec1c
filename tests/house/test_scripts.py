"""The gate's own tools: a check that cannot fail checks nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from tests.house.kit import ROOT, load

licences = load("scripts/licences.py")
coverage = load("scripts/coverage.py")
fsyncs = load("benches/fsyncs.py")
report = load("benches/report.py")


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("GPL-3.0-only OR MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only) AND ISC", True),
        ("MIT/GPL-3.0", True),
        ("Apache-2.0 WITH LLVM-exception", False),
        ("GPL-3.0-only", False),
    ],
)
def test_licence_expressions(text: str, allowed: bool) -> None:
    assert licences.Expression(text).allowed({"MIT", "ISC", "Apache-2.0"}) is allowed


@pytest.mark.parametrize("text", ["", "MIT OR", "(MIT", "MIT MIT"])
def test_malformed_licences_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="malformed"):
        licences.Expression(text).allowed({"MIT"})


def package(**changes: Any) -> dict[str, Any]:
    base = {
        "name": "x",
        "version": "1.0.0",
        "source": "registry+r",
        "license": "MIT",
        "dependencies": [],
    }
    return {**base, **changes}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"source": "git+https://host/x"}, "git"),
        ({"license": None}, "no licence"),
        ({"license": "GPL-3.0-only"}, "allow list"),
        ({"name": "bad"}, "banned"),
        ({"source": None, "dependencies": [{"name": "y", "req": "*"}]}, "no version"),
    ],
)
def test_each_package_rule_can_fail(changes: dict[str, Any], word: str) -> None:
    rules = {"licenses": {"allow": ["MIT"]}, "bans": {"deny": [{"crate": "bad"}]}}
    assert licences.complaints(rules, {"packages": [package()]}) == []
    (line,) = licences.complaints(rules, {"packages": [package(**changes)]})
    assert word in line


def test_rule_ids_are_found_in_order() -> None:
    assert coverage.COMMENT.findall("// rule: A2-7, V2-2.3-1") == ["A2-7, V2-2.3-1"]
    assert coverage.QUOTED.findall('case("D4-5", x)') == ["D4-5"]
    assert sorted(["B4-10", "A2-7", "2.10-1", "2.3-2", "B4-9"], key=coverage.order) == [
        "2.3-2",
        "2.10-1",
        "A2-7",
        "B4-9",
        "B4-10",
    ]


def test_only_fsyncs_between_marks_count() -> None:
    trace = """\
7 fdatasync(3) = 0
7 newfstatat(AT_FDCWD, "/mdk-bench-begin", 0x7f, 0) = -1 ENOENT
7 fdatasync(3 <unfinished ...>
8 fsync(4) = 0
7 <... fdatasync resumed>) = 0
7 newfstatat(AT_FDCWD, "/mdk-bench-end", 0x7f, 0) = -1 ENOENT
7 fsync(3) = 0
7 newfstatat(AT_FDCWD, "/mdk-bench-begin", 0x7f, 0) = -1 ENOENT
7 newfstatat(AT_FDCWD, "/mdk-bench-end", 0x7f, 0) = -1 ENOENT
"""
    assert fsyncs.between_marks(trace) == [2, 0]


def row(**changes: Any) -> dict[str, Any]:
    base = {"operation": "send", "members": 2, "ours_ms": 0.3, "peer_ms": 3.9, "floor_ms": 0.25}
    return {**base, "fsyncs": 1, "fsyncs_most": 2, **changes}


HISTORY = {
    "messages": 10,
    "few": 1,
    **{f"{name}_ms_{age}": 1 for name in ("send", "receive") for age in ("new", "young", "old")},
}


@pytest.mark.parametrize(
    ("changes", "history"),
    [
        ({"ours_ms": 0.36}, {}),
        ({"floor_ms": 0.1}, {}),
        ({"fsyncs_most": 3}, {}),
        ({}, {"send_ms_old": 1.2}),
        ({}, {"receive_ms_young": 0.8}),
        ({}, {"receive_ms_new": 0.7}),
    ],
)
def test_each_target_can_be_missed(changes: dict[str, Any], history: dict[str, Any]) -> None:
    assert all(v.holds for v in report.verdicts([row()], HISTORY))
    assert not all(v.holds for v in report.verdicts([row(**changes)], {**HISTORY, **history}))


@pytest.mark.parametrize(
    ("rekey", "floor", "holds"),
    [(1.9, 0.5, True), (4.0, 3.4, True), (4.0, 3.2, False)],
)
def test_a_rekey_is_fast_by_itself_or_beside_its_floor(
    rekey: float, floor: float, holds: bool
) -> None:
    found = {"bytes": 100_000_000, "rekey_s": rekey, "floor_s": floor, "copy_s": 1.0}
    assert report.rekey_verdict(found).holds is holds
    assert "111 MB/s (1.80 times" in report.rekeyed_line({**found, "rekey_s": 0.9, "floor_s": 0.5})


def test_a_fork_of_two_is_worth_four_commits() -> None:
    assert report.fork_verdict({"members": 10, "commit_ms": 2.0, "fork_ms": 8.0}).holds
    assert not report.fork_verdict({"members": 10, "commit_ms": 2.0, "fork_ms": 8.1}).holds


def test_a_second_run_only_replaces_what_was_asked_and_is_better() -> None:
    first, better, worse = [row()], [row(ours_ms=0.2)], [row(ours_ms=0.4)]
    assert report.better(first, better, {("send", 2)}) == better
    assert report.better(first, better, set()) == first
    assert report.better(first, worse, {("send", 2)}) == first


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_many_accounts_are_measured() -> None:
    """Thirteen and the one before them: a connection for ten, and one for the rest."""
    command = [sys.executable, str(ROOT / "benches/accounts.py")]
    done = subprocess.run(
        [*command, "--count", "13", "--idle", "0.01", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert (found["accounts"], found["connections"]) == (13, 2)
    assert found["bytes_per_account"] > 0
