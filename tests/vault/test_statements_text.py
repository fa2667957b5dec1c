"""Statements 1, 4, 31, 33 and 34: what the documents have to say, and what says it at run time."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from mdk import DatabaseKey, Mdk, vault

ROOT = Path(__file__).resolve().parent.parent.parent
SECURITY = ROOT / "SECURITY.md"


def section(title: str) -> str:
    """A section of SECURITY.md with its subsections, as one line."""
    text = SECURITY.read_text(encoding="utf-8")
    found = re.search(
        rf"^(##+) {re.escape(title)}$\n(.*?)(?=^##? |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert found, f"SECURITY.md has no section {title}"
    return re.sub(r"\s+", " ", found[2])


# proves: S1
def test_how_to_report() -> None:
    text = section("Reporting")
    assert "private security advisories" in text
    assert "not as a public issue" in text
    assert "@" not in text, "no address is invented"


# proves: S1, S4, S34
@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("Assets", "MLS state; exporter; message text; metadata of groups; database key"),
        (
            "Not defended",
            "program that uses the library; operating system; side channels; evil maid; swap",
        ),
        ("What you trust", "keyring; host; random; SQLCipher; OpenMLS"),
    ],
)
def test_assets_limits_and_what_is_trusted_are_named(title: str, words: str) -> None:
    text = section(title).lower()
    for word in words.split("; "):
        assert word.lower() in text, word


# proves: S31
def test_an_unencrypted_account_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mdk"), Mdk.in_memory():
        pass
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert [(r.name, r.getMessage()) for r in warnings] == [
        ("mdk.store", "an account in memory is not encrypted")
    ]
    # Reported where the account was opened, not somewhere inside.
    assert warnings[0].funcName == "test_an_unencrypted_account_warns"
    assert "not encrypted" in (Mdk.in_memory.__doc__ or "")
    assert "not encrypted" in section("Defended")


# proves: S33
def test_what_others_list_as_limits_exists_here() -> None:
    """Migration, re-keying and wiping: functions with documentation. What they do is shown under K2, K3 and Z1."""
    for name in ("encrypt_existing", "rekey", "backup", "restore", "verify", "salvage", "doctor"):
        assert getattr(vault, name).__doc__, name
    assert "wipe" in (DatabaseKey.raw.__doc__ or "")
