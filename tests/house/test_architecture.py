"""The map of the house is drawn from the code: scripts/architecture.py, checked against ARCHITECTURE.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.kit import ROOT, load

architecture = load("scripts/architecture.py")


def test_the_map_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/architecture.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_change_of_the_code_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "ARCHITECTURE.md"
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    page.write_text(text.replace("mdk-wire", "mdk-wires", 3), encoding="utf-8")
    monkeypatch.setattr(architecture, "PAGE", page)
    monkeypatch.setattr(sys, "argv", ["architecture.py", "--check"])
    assert architecture.main() == 1


def test_floors_follow_imports_and_circles_share_one() -> None:
    edges = {"top": {"a"}, "a": {"b", "low"}, "b": {"a"}, "low": set(), "aside": set()}
    assert architecture.floors(edges) == [[["aside"], ["low"]], [["a", "b"]], [["top"]]]


def crate(root: Path, **files: str) -> Path:
    for name, text in {"lib": "", **files}.items():
        path = root / f"{name.replace('__', '/')}.rs"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_imports_are_found_however_they_are_written(tmp_path: Path) -> None:
    root = crate(
        tmp_path,
        lib="pub use low::Low;",
        high="use crate::{Low, middle::{deep, Middle}, side};",
        middle__mod="use super::inner;",
        middle__inner="use crate::side::Side;",
        side="use super::low::Low;\n// crate::high\n#[cfg(test)]\nmod tests {\nuse crate::high;\n}",
        low="",
    )
    assert architecture.imports(root) == {
        "high": {"low", "middle", "side"},
        "middle": {"side"},
        "side": {"low"},
        "low": set(),
    }


def test_a_module_is_told_by_its_first_sentence(tmp_path: Path) -> None:
    root = crate(
        tmp_path,
        a="//! `mdk-a`: what [`Low`](x) is\n//! for (notes.md 2). And more.\n//!\n//! Else.\n",
        b="",
    )
    assert architecture.purpose(root / "a.rs") == "What `Low` is for."
    assert architecture.purpose(root / "b.rs") == "–"
