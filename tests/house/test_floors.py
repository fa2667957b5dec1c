"""How the crates are built inside: scripts/house.py measures it, limits.toml holds the limits, a map is drawn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.kit import ROOT, load

house = load("scripts/house.py")


def test_no_figure_rises_and_limits_fall_with_the_figures() -> None:
    """A limit that is higher than the figure would let it rise again."""
    limits, measured = house.limits(), house.measured()
    for name in house.CRATES:
        now = house.as_table(measured[name], limits[name].get("floors", []))
        risen, lower = house.risen(now, limits[name]), house.risen(limits[name], now)
        assert not risen, "see `python scripts/house.py` and its --upward for what was measured"
        assert not lower, "`python scripts/house.py --write` lowers the limits"


SMALL = "crates/small/src"


def crate(root: Path, **files: str) -> Path:
    folder = root / SMALL
    for name, text in {"lib": "", **files}.items():
        path = folder / f"{name.replace('__', '/')}.rs"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_the_package_has_no_circle_over_two_files() -> None:
    circles = house.circles(house.python_imports(house.ROOT / "python"))
    assert all(len(circle) <= 2 for circle in circles), circles


def test_imports_of_python_make_a_circle(tmp_path: Path) -> None:
    package = tmp_path / "small"
    package.mkdir()
    (package / "__init__.py").write_text("from .a import A\n", encoding="utf-8")
    (package / "a.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import B\n",
        encoding="utf-8",
    )
    (package / "b.py").write_text("from . import c\n", encoding="utf-8")
    (package / "c.py").write_text("from small.a import A\n", encoding="utf-8")
    circle = ["small.a", "small.b", "small.c"]
    assert house.circles(house.python_imports(tmp_path)) == [circle]


def test_imports_make_a_circle(tmp_path: Path) -> None:
    root = crate(tmp_path, a="use crate::b::B;\npub struct A;", b="use super::a::A;\npub struct B;")
    assert house.measure("small", [], set(), root).circles == [["a.rs", "b.rs"]]


def test_method_calls_make_a_circle(tmp_path: Path) -> None:
    """Nothing is imported on the way back: the method is found by its type and name."""
    root = crate(
        tmp_path,
        ctx="pub struct Ctx;\nimpl Ctx { fn low(&self) { self.high() } }",
        high="use crate::ctx::Ctx;\nimpl Ctx { fn high(&self) {} }",
    )
    assert house.measure("small", [], set(), root).circles == [["ctx.rs", "high.rs"]]


def test_a_name_that_a_crate_below_has_is_not_followed(tmp_path: Path) -> None:
    files = {
        "a": "pub struct A;\nimpl A { fn shown(&self) {} }\nuse crate::b::B;",
        "b": "pub struct B;\nfn f(x: u8) { x.shown() }",
    }
    root = crate(tmp_path, **files)
    assert house.measure("small", [], set(), root).circles
    assert not house.measure("small", [], {"shown"}, root).circles


def test_exports_lead_to_where_a_name_is_defined(tmp_path: Path) -> None:
    root = crate(
        tmp_path,
        a__mod="mod low;\nmod high;\npub use low::Low;\npub use high::High;",
        a__low="pub struct Low;",
        a__high="use super::Low;\npub struct High;",
    )
    assert not house.measure("small", [], set(), root).circles


def test_comments_texts_and_tests_do_not_count(tmp_path: Path) -> None:
    root = crate(
        tmp_path,
        a='// crate::b::B\nconst T: &str = "crate::b::B";\n#[cfg(test)]\nmod t { use crate::b::B; }',
        b="use crate::a::T;\n#[cfg(test)]\nmod cases;",
        b__cases="use crate::a::T;\nuse crate::c::C;",
        c="use crate::b::cases::D;\npub struct C;",
    )
    assert not house.measure("small", [], set(), root).circles


def test_floors(tmp_path: Path) -> None:
    root = crate(
        tmp_path,
        low__a="use crate::high::B;",
        high__mod="pub struct B;",
        operations__mod="pub mod x;\npub mod y;",
        operations__x="use crate::operations::y::Y;",
        operations__y__mod="pub struct Y;\nmod z;",
        operations__y__z="use super::Y;",
    )
    figures = house.measure("small", ["low", "operations", "high"], set(), root)
    assert [edge[:2] for edge in figures.upward] == [("low/a.rs", "high/mod.rs")]
    assert [edge[:2] for edge in figures.sideways] == [("operations/x.rs", "operations/y/mod.rs")]


def test_fields_and_lines(tmp_path: Path) -> None:
    fields = "\n".join(f"    /// f{n}: a\n    pub f{n}: HashMap<u8, (u8, u8)>," for n in range(13))
    lines = "    f();\n" * 79
    root = crate(tmp_path, a=f"struct Many<T> {{\n{fields}\n}}\nfn long() {{\n{lines}}}\n")
    figures = house.measure("small", [], set(), root)
    assert figures.fields == {"a.rs Many": 13}
    assert figures.lines == {"a.rs long": 81}


def test_a_limit_that_is_passed_is_named() -> None:
    limit = {"circles": [3], "fields": {"Many": 14}, "lines": {}}
    now = {"circles": [3, 2], "fields": {"Many": 15, "New": 13}, "lines": {"long": 81}}
    assert house.risen(now, limit) == [
        "5 files in all circles, where 3 is the limit",
        "Many has 15 fields, where 14 is the limit",
        "New has 13 fields, where 12 is the limit",
        "long has 81 lines, where 80 is the limit",
    ]


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
    assert architecture.imports(root / SMALL) == {
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
    assert architecture.purpose(root / SMALL / "a.rs") == "What `Low` is for."
    assert architecture.purpose(root / SMALL / "b.rs") == "–"
