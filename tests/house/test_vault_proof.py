"""The table of the vault says what the tests say, and notices when they change."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations_with_replacement, product
from pathlib import Path
from typing import Any

import pytest
from tests.house.kit import load

proof = load("scripts/vault_proof.py")
# Split, so that this file proves nothing itself.
SAYS = "# pro" + "ves: "


def claims(tmp_path: Path, source: str) -> dict[str, set[str]]:
    path = tmp_path / "test_it.py"
    path.write_text(source)
    found: dict[str, set[str]] = proof.claims(path)
    return found


def test_a_comment_above_inside_or_on_top_counts(tmp_path: Path) -> None:
    source = f"""'''Doc.'''
{SAYS}R1
import pytest

{SAYS}S7, S8 R13
@pytest.mark.parametrize("x", [1])
def test_above(x):
    pass

def test_inside():
    '''Doc.'''
    {SAYS}Z4
    pass

def test_nothing():
    pass
"""
    assert claims(tmp_path, source) == {
        "test_above": {"R1", "S7", "S8", "R13"},
        "test_inside": {"R1", "Z4"},
        "test_nothing": {"R1"},
    }


def test_a_comment_that_belongs_to_no_test_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="S7"):
        claims(tmp_path, f"import os\n\n{SAYS}S7\nX = 1\n\ndef test_it():\n    pass\n")


def test_the_worst_case_decides_and_a_skipped_one_is_not_forgotten(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    cases = [
        ("test_a[1]", ""),
        ("test_a[2]", "<failure/>"),
        ("test_b[1]", ""),
        ("test_b[2]", "<skipped type='pytest.skip'/>"),
        ("test_c", "<skipped type='pytest.skip'/>"),
        ("test_d", "<skipped type='pytest.xfail'/>"),
        ("test_e[1]", "<skipped type='pytest.skip'/>"),
        ("test_e[2]", "<skipped type='pytest.xfail'/>"),
        ("test_f[1]", "<skipped type='pytest.skip'/>"),
        ("test_f[2]", "<error/>"),
        ("test_g[1]", ""),
        ("test_g[2]", ""),
    ]
    inner = "".join(
        f"<testcase classname='tests.vault.test_x' name='{name}'>{result}</testcase>"
        for name, result in cases
    )
    junit.write_text(f"<testsuites><testsuite>{inner}</testsuite></testsuites>")
    found = {name: result for (name, _), result in proof.outcomes(junit).items()}
    assert found == {
        "test_a": "failed",
        "test_b": "skipped in part",
        "test_c": "skipped",
        "test_d": "open",
        "test_e": "open",
        "test_f": "failed",
        "test_g": "passed",
    }


EVERY_RESULT = ("passed", "skipped", "skipped in part", "open", "failed", "unknown")


def rows_of(results: Iterable[str], **more: Any) -> tuple[Any, dict[tuple[str, str], str]]:
    """A row with a test for each result; one that is unknown was not run."""
    tests = {(f"test_{n}", "tests/x.py"): result for n, result in enumerate(results)}
    ran = {test: result for test, result in tests.items() if result != "unknown"}
    return proof.Row("Says.", tests=list(tests), **more), ran


def test_verdicts() -> None:
    """Every combination of up to three tests, with other means and without, with something open and without."""
    every = [c for n in range(4) for c in combinations_with_replacement(EVERY_RESULT, n)]
    for results, rust, also, lacks in product(every, ([], ["x.rs::x"]), ("", "S."), ("", "W.")):
        row, ran = rows_of(results, rust=rust, also=also, lacks=lacks)
        otherwise = bool(rust or also)
        if {"failed", "unknown"} & set(results):
            expected = "**failed or not run**"
        elif not otherwise and set(results) <= {"skipped"}:
            expected = "not shown"
        elif lacks or set(results) - {"passed"}:
            expected = "in part"
        else:
            expected = "shown" if results else "shown otherwise"
        assert proof.judge(row, ran) == expected, (results, rust, also, lacks)


@pytest.mark.parametrize("order", [("passed", "skipped"), ("skipped", "passed")])
def test_a_test_that_was_skipped_is_named(order: tuple[str, ...]) -> None:
    row, ran = rows_of(order)
    text = proof.line("S1", row, ran)
    assert f"| in part; skipped: `test_{order.index('skipped')}` |" in text
    assert proof.standing(text) == ran, "the name alone is not taken for a result"
    row, ran = rows_of(["passed", "skipped in part"], rust=["open.rs::x"], lacks="Windows.")
    text = proof.line("S1", row, ran)
    assert "| in part; open: Windows.; skipped: `test_1` |" in text
    assert proof.standing(text) == ran
    row, ran = rows_of(["skipped"], rust=["open.rs::x"])
    assert "| in part; skipped: `test_0` |" in proof.line("S1", row, ran)
    row, ran = rows_of(["skipped"])
    assert "| not shown; skipped: `test_0` |" in proof.line("S1", row, ran)
    row, ran = rows_of(["passed"])
    assert "skipped" not in proof.line("S1", row, ran)


def test_the_table_has_a_row_for_each_statement_and_target_and_is_read_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = proof.judged()
    monkeypatch.setattr(proof, "judged", lambda: table)
    assert len(table) == 35 + 15 + 11 + 5 + 4 + 8
    for row in table.values():
        assert row.tests or row.rust or row.also or row.lacks, row.says
    results = {test: "passed" for row in table.values() for test in row.tests}
    text = proof.render(results, {"copies of a key": "1"})
    assert proof.standing(text) == results
    assert proof.standing_measures(text) == {"copies of a key": "1"}
    assert "failed or not run" not in text
    assert proof.render({}, {}) != text
