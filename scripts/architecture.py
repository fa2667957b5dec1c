"""Draw the map in ARCHITECTURE.md: the crates, the floors of modules inside each, what each folder of modules is for.

All of it is read from the code: dependencies from the Cargo.toml files, what a module is for from the first sentence of
its doc comment, and floors from imports. A module stands on the lowest floor that is above everything that it imports;
modules that import each other in a circle share a floor, in brackets. Text outside of the two marks is left as it is.
`--check` compares, and fails when the page is out of date.
"""

from __future__ import annotations

import re
import sys
import textwrap
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "ARCHITECTURE.md"
BEGIN, END = "<!-- the map: made by scripts/architecture.py -->\n", "<!-- end of the map -->\n"
# Where the tests of a file begin.
TESTS = re.compile(r"^#\[cfg\(test\)\]\n(?:#\[[^\n]*\n)*mod \w+ \{", re.MULTILINE)
PATH = re.compile(r"\bcrate::(?:(\w+)|\{([^;]*)\})")
EXPORT = re.compile(r"^pub(?:\(crate\))? use (\w+)::([^;]+);", re.MULTILINE)

Edges = dict[str, set[str]]


def crates() -> dict[str, list[str]]:
    """Each crate with those of ours that it builds on, the lowest crate first."""
    edges: Edges = {}
    for path in ROOT.glob("crates/*/Cargo.toml"):
        manifest = tomllib.loads(path.read_text(encoding="utf-8"))
        edges[path.parent.name] = set(manifest.get("dependencies", {}))
    edges = {name: wanted & set(edges) for name, wanted in edges.items()}
    ordered = [name for floor in floors(edges) for circle in floor for name in circle]
    return {name: sorted(edges[name]) for name in ordered}


def modules(crate: Path) -> dict[str, list[Path]]:
    """The modules right below a crate's root, each with its files; without tests."""
    found: dict[str, list[Path]] = {}
    for path in sorted(crate.rglob("*.rs")):
        inside = path.relative_to(crate)
        name = inside.parts[0].removesuffix(".rs")
        if name != "lib" and not {"tests", "tests.rs"} & set(inside.parts):
            found.setdefault(name, []).append(path)
    return found


def imports(crate: Path) -> Edges:
    """Which module names which other one, also by what the root exports again."""
    parts = modules(crate)
    exported = {
        name: module
        for module, names in EXPORT.findall((crate / "lib.rs").read_text(encoding="utf-8"))
        for name in re.findall(r"\w+", names)
        if module in parts
    }
    edges: Edges = {name: set() for name in parts}
    for name, paths in parts.items():
        for path in paths:
            text = TESTS.split(path.read_text(encoding="utf-8"))[0]
            text = re.sub(r"//[^\n]*", "", text)
            if path.parent == crate:
                text = re.sub(r"\bsuper::", "crate::", text)
            for one, several in PATH.findall(text):
                # In a group, what stands at its top level.
                flat = re.sub(r"::\{[^}]*\}", "", several)
                for word in [one, *re.findall(r"(?:^|,)\s*(\w+)", flat)]:
                    edges[name].add(exported.get(word, word))
    return {name: {to for to in tos if to in parts and to != name} for name, tos in edges.items()}


def floors(edges: Edges) -> list[list[list[str]]]:
    """Floors from the lowest up; each has its circles, most of which are single modules."""
    down = {name: set(below) for name, below in edges.items()}
    for middle in edges:
        for name in edges:
            down[name] |= down[middle] if middle in down[name] else set()
    circles = {name: {name} | {to for to in down[name] if name in down[to]} for name in edges}
    height: dict[str, int] = {}
    for name in sorted(edges, key=lambda name: len(down[name] | circles[name])):
        height[name] = max((height[to] + 1 for to in down[name] - circles[name]), default=0)
    found: list[list[list[str]]] = [[] for _ in range(max(height.values(), default=-1) + 1)]
    for name in sorted(name for name in edges if name == min(circles[name])):
        found[height[name]].append(sorted(circles[name]))
    return found


def purpose(path: Path) -> str:
    """The first sentence of a module's doc comment, without what it links or cites."""
    text = re.match(r"(?://! .*\n)*", path.read_text(encoding="utf-8"))
    words = text[0].replace("//! ", "").replace("\n", " ") if text else ""
    words = re.sub(r"\[(`[^`]*`)\](?:\([^)]*\))?", r"\1", words)
    words = re.sub(r"^`[\w-]+`: | \([\w-]+\.md[^)]*\)", "", words)
    first = re.split(r"(?<=[.]) (?=[A-Z`])", words)[0].strip()
    return first[:1].upper() + first[1:] or "–"


def render() -> str:
    """The part of the page that is generated."""
    named = crates()
    drawn, told = ["```text"], []
    for name in reversed(named):
        source = ROOT / "crates" / name / "src"
        drawn.append(f"{name}  ->  {', '.join(named[name]) or 'none of ours'}")
        for height, level in reversed(list(enumerate(floors(imports(source)), 1))):
            words = [one[0] if len(one) == 1 else f"({' '.join(one)})" for one in level]
            head, rest = f"  {height:2}  ", " " * 6
            drawn += textwrap.wrap(
                "   ".join(words), 100, initial_indent=head, subsequent_indent=rest
            )
        drawn.append("")
        told += [f"**{name}** {purpose(source / 'lib.rs')}", ""]
        folders = [module for module, paths in modules(source).items() if len(paths) > 1]
        told += ["| Folder | What is in it |", "| --- | --- |"] if folders else []
        for module in folders:
            inside = source / module / "mod.rs"
            at = inside if inside.exists() else source / f"{module}.rs"
            told.append(f"| `{module}` | {purpose(at)} |")
        told.append("")
    return "\n".join([*drawn[:-1], "```", "", *told])


def main() -> int:
    """Write the map into the page, or compare it with `--check`."""
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    fresh = head + BEGIN + "\n" + render() + END + rest.partition(END)[2]
    if "--check" in sys.argv[1:]:
        if page != fresh:
            print(
                "architecture: ARCHITECTURE.md is not up to date, run make architecture",
                file=sys.stderr,
            )
        return int(page != fresh)
    PAGE.write_text(fresh, encoding="utf-8")
    print(f"architecture: {PAGE.name} is drawn from {len(crates())} crates")
    return 0


if __name__ == "__main__":
    sys.exit(main())
