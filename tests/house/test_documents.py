"""The documents that every project has, with the parts that a reader looks for. Their programs run in tests/docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


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
