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


# proves: S1
def test_the_assets_are_named() -> None:
    text = section("Assets")
    for asset in ("MLS state", "exporter", "message text", "metadata of groups", "database key"):
        assert asset in text, asset


# proves: S4
def test_what_is_out_of_scope_is_named() -> None:
    text = section("Not defended").lower()
    for limit in (
        "program that uses the library",
        "operating system",
        "side channels",
        "evil maid",
        "swap",
    ):
        assert limit in text, limit


# proves: S34
def test_what_has_to_be_trusted_is_named() -> None:
    text = section("What you trust")
    for trusted in ("keyring", "host", "random", "SQLCipher", "OpenMLS"):
        assert trusted in text, trusted


# proves: S31
def test_an_unencrypted_account_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mdk"), Mdk.in_memory():
        pass
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert any("not encrypted" in r.getMessage() for r in warnings), caplog.text
    assert "not encrypted" in (Mdk.in_memory.__doc__ or "")
    assert "not encrypted" in section("Defended")


# proves: S33
def test_what_others_list_as_limits_exists_here() -> None:
    """Migration, re-keying and wiping: functions with documentation. What they do is shown under K2, K3 and Z1."""
    for name in ("encrypt_existing", "rekey", "backup", "restore", "verify", "salvage", "doctor"):
        assert getattr(vault, name).__doc__, name
    assert "wipe" in (DatabaseKey.raw.__doc__ or "")
