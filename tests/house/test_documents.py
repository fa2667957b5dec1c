"""What the user reads is executed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCKS = [
    (f"{path.name}-{number}", code)
    for path in DOCUMENTS
    for number, code in enumerate(
        re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL), 1
    )
]


@pytest.mark.parametrize(("name", "code"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_documented_program_runs(name: str, code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{name}: {done.stderr}"
    assert done.stdout.strip(), "a program that prints nothing shows nothing"


def test_the_readme_program_delivers_its_message(tmp_path: Path) -> None:
    code = dict(BLOCKS)["README.md-1"]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["Soup or sandwich?"]


@pytest.mark.parametrize(
    ("document", "headings"),
    [
        ("SECURITY.md", ["Reporting", "Assets", "Adversaries", "Defended", "Not defended"]),
        ("CHANGELOG.md", ["[Unreleased]"]),
        (
            "CONTRIBUTING.md",
            ["How to add an operation", "How to add a component", "How to add a migration"],
        ),
    ],
)
def test_document_has_its_parts(document: str, headings: list[str]) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for heading in headings:
        assert re.search(rf"^## {re.escape(heading)}", text, re.MULTILINE), heading
