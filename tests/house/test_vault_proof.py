"""The table of the vault says what the tests say, and notices when they change."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vault_proof", ROOT / "scripts/vault_proof.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


proof = load()
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


def test_the_worst_case_decides(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    cases = [
        ("test_a[1]", ""),
        ("test_a[2]", "<failure/>"),
        ("test_b[1]", ""),
        ("test_b[2]", "<skipped type='pytest.skip'/>"),
        ("test_c", "<skipped type='pytest.skip'/>"),
        ("test_d", "<skipped type='pytest.xfail'/>"),
    ]
    inner = "".join(
        f"<testcase classname='tests.vault.test_x' name='{name}'>{result}</testcase>"
        for name, result in cases
    )
    junit.write_text(f"<testsuites><testsuite>{inner}</testsuite></testsuites>")
    found = {name: result for (name, _), result in proof.outcomes(junit).items()}
    assert found == {"test_a": "failed", "test_b": "passed", "test_c": "skipped", "test_d": "open"}


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        (["passed", "passed"], "shown"),
        (["passed", "failed"], "**failed or not run**"),
        (["passed", "unknown"], "**failed or not run**"),
        (["passed", "open"], "in part"),
        (["skipped", "passed"], "shown"),
        (["skipped"], "not shown"),
    ],
)
def test_verdicts(results: list[str], verdict: str) -> None:
    tests = [(f"test_{i}", "x.py") for i in range(len(results))]
    row = proof.Row("Says.", tests=tests)
    assert proof.judge(row, dict(zip(tests, results, strict=True))) == verdict
    assert proof.judge(row, {}) == "**failed or not run**", "a test that was not run"
    other = proof.Row("Says.", rust=["open.rs::x"])
    assert proof.judge(other, {}) == "shown otherwise"
    other.lacks = "Something."
    assert proof.judge(other, {}) == "in part"


def test_every_statement_and_target_has_its_row() -> None:
    table = proof.judged()
    assert len(table) == 35 + 15 + 11 + 5 + 4 + 8
    for row in table.values():
        assert row.tests or row.rust or row.also or row.lacks, row.says


def test_the_results_of_a_table_are_read_back() -> None:
    results = {test: "passed" for row in proof.judged().values() for test in row.tests}
    text = proof.render(results, {"copies of a key": "1"})
    assert proof.standing(text) == results
    assert proof.standing_measures(text) == {"copies of a key": "1"}
    assert "failed or not run" not in text
    assert proof.render({}, {}) != text
