"""The binding names every error and every event of the crates below it, so that none turns into something vague."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    ("source", "enum", "target"),
    [
        ("mdk-core/src/model/error.rs", "Error", "errors/mapping.rs"),
        ("mdk-store/src/error.rs", "OpenError", "errors/mapping.rs"),
        ("mdk-store/src/error.rs", "StoreError", "errors/mapping.rs"),
        ("mdk-store/src/vault/error.rs", "VaultError", "errors/mapping.rs"),
        ("mdk-core/src/model/values.rs", "EventBody", "event_views.rs"),
        ("mdk-client/src/error.rs", "ClientError", "errors/transport.rs"),
        ("mdk-relay/src/error.rs", "RelayError", "errors/transport.rs"),
    ],
)
def test_the_binding_names_every_variant(source: str, enum: str, target: str) -> None:
    text = (ROOT / "crates" / source).read_text(encoding="utf-8")
    body = text.split(f"pub enum {enum} {{", 1)[1].split("\n}", 1)[0]
    variants = re.findall(r"^    ([A-Z]\w+)", body, re.MULTILINE)
    assert len(variants) > (0 if enum == "RelayError" else 5)
    binding = (ROOT / "crates" / "mdk-python" / "src" / target).read_text(encoding="utf-8")
    missing = [v for v in variants if not re.search(rf"\b{enum}::{v}\b", binding)]
    assert missing == []
