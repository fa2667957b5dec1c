"""Measure how a crate is built: circles of files, fields of structs, lines of functions.

A file depends on another one when it imports a name that is defined there, names it by its path, or calls an
inherent method that stands there. Re-exports are followed to where a name is defined; a call is followed by the type of
its receiver where that can be read (`self`, `Self::`, `Type::`, `ctx`), else by its name, if only one file of the crate
has a method of that name and neither std nor a crate below has one. Tests beside the code are left out. Where the table
names the floors of a crate (its folders, lowest first), references from a lower floor to a higher one are counted, and
so are those from one operation to another.

The limits stand in tests/house/limits.toml: the figures of today. They may only fall: `--write` lowers them, and
refuses to raise one. Without options the figures are printed; `--upward CRATE` lists the references that run up.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LIMITS = ROOT / "tests/house/limits.toml"
CRATES = ("mdk-wire", "mdk-store", "mdk-core", "mdk-relay", "mdk-client", "mdk-python")
MOST_FIELDS = 12
MOST_LINES = 80
SIDEWAYS = "operations"
"""The floor whose parts do not name one another."""

# Variables that hold one type everywhere, by the custom of the house.
RECEIVERS = {"ctx": "Ctx", "work": "Work", "records": "Records"}
# Methods of std and of the crates outside that a name alone cannot be told from.
# fmt: off
COMMON = {
    "export_secret", "extract", "poll", "sender",
    "all", "and_then", "any", "append", "apply", "as_bytes", "as_mut", "as_ref", "as_slice",
    "as_str", "bind", "build", "call", "chain", "ciphersuite", "clear", "clone", "close", "cmp",
    "commit", "contains", "content", "count", "create", "create_message", "dedup", "default",
    "drain", "drop",
    "entry", "epoch", "eq", "err", "execute", "extend", "extensions", "filter", "finalize", "find",
    "finish", "first", "flush", "fmt", "fold", "from", "get", "get_mut", "group_id", "hash", "id",
    "init", "insert", "into", "is_admin", "is_empty", "is_none", "is_some", "iter", "iter_mut",
    "join", "keep", "keys", "kind", "last", "leave", "len", "load", "lock", "map", "mark", "max",
    "members", "merge", "min", "name", "new", "next", "none", "note", "ok", "ok_or", "open",
    "own_leaf_index", "parse", "path", "pending_commit", "pop", "position", "prepare", "push",
    "put", "query", "read", "recv", "remove", "replace", "retain", "retry", "rev", "rollback",
    "row", "rows", "run", "search", "seek", "send", "set", "skip", "sort", "sort_by", "split", "start",
    "stop", "store", "sum", "swap", "tag", "tags", "take", "to_bytes", "to_string", "to_vec",
    "transaction", "truncate", "try_from", "unwrap_or", "update", "values", "write", "zip",
}
# fmt: on

TOKEN = re.compile(
    r"//[^\n]*|/\*.*?\*/|b?r(#*)\".*?\"\1|b?\"(?:\\.|[^\"\\])*\"|b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\])'",
    re.DOTALL,
)
TEST_ONLY = re.compile(r"#\[cfg\((?:all\()?test\b[^\]]*\]")
TEST_MODULE = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod (\w+);")
USE = re.compile(r"(?m)^\s*((?:pub(?:\([^)]*\))?\s+)?)use\s+([^;]+);")
IMPL = re.compile(r"(?m)^\s*(?:unsafe\s+)?impl\b(?:<[^{;]*?>)?\s*([^{;]*?)\{")
BRACE = re.compile(r"[{}]")
FN = re.compile(r"\bfn\s+(\w+)")
STRUCT = re.compile(r"\bstruct\s+(\w+)([^;{(]*)\{")
PATH = re.compile(r"(?<![\w:.])((?:[a-z_]\w*|crate|self|super)(?:::[A-Za-z_]\w*)+)")
CALL = re.compile(r"(\b\w+)?(\)|\]|\?)?\s*\.\s*([a-z_]\w*)\s*(?:::<[^(]*?>)?\(")
TYPED = re.compile(r"(?<![\w])([A-Z]\w*)(?:::<[^>]*>)?::([a-z_]\w*)")


@dataclass
class Source:
    """One file of a crate."""

    name: str
    module: tuple[str, ...]
    text: str
    """Without comments, texts and tests; as long as the file, line for line."""
    imports: dict[str, tuple[str, ...]] = field(default_factory=dict)
    exports: dict[str, tuple[str, ...]] = field(default_factory=dict)
    globs: list[tuple[str, ...]] = field(default_factory=list)


@dataclass
class Figures:
    """What is measured of a crate."""

    circles: list[list[str]]
    fields: dict[str, int]
    lines: dict[str, int]
    upward: list[tuple[str, str, str]]
    sideways: list[tuple[str, str, str]]


def blank(text: str) -> str:
    """Spaces for what is there, line for line."""
    return re.sub(r"[^\n]", " ", text)


def end_of_block(text: str, start: int) -> int:
    """Where the block ends that the brace at `start` opens."""
    depth = 0
    for brace in BRACE.finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.end()
    return len(text)


def without_tests(text: str) -> str:
    """The text with every item blanked that only tests have."""
    while found := TEST_ONLY.search(text):
        at = found.end()
        while text[at] not in ";{":
            at += 1
        end = at + 1 if text[at] == ";" else end_of_block(text, at)
        text = text[: found.start()] + blank(text[found.start() : end]) + text[end:]
    return text


def test_files(parent: Path) -> list[Path]:
    """The files of modules that a file declares for tests only."""
    folder = parent.parent if parent.stem in {"mod", "lib"} else parent.with_suffix("")
    return [folder / f"{name}.rs" for name in TEST_MODULE.findall(parent.read_text("utf-8"))]


def is_test(path: Path) -> bool:
    return path.stem == "tests" or "tests" in path.parts


def leaves(tree: str, before: tuple[str, ...] = ()) -> list[tuple[str, tuple[str, ...]]]:
    """Each name that a `use` brings in, with its path."""
    tree = tree.strip()
    if "{" in tree:
        head, inner = tree.split("{", 1)
        path = before + tuple(part for part in head.strip().split("::") if part)
        parts, depth, part = [], 0, ""
        for sign in inner.rsplit("}", 1)[0]:
            depth += {"{": 1, "}": -1}.get(sign, 0)
            if sign == "," and depth == 0:
                parts.append(part)
                part = ""
            else:
                part += sign
        return [leaf for one in [*parts, part] if one.strip() for leaf in leaves(one, path)]
    whole, _, alias = tree.partition(" as ")
    path = before + tuple(part.strip() for part in whole.split("::"))
    if path[-1] == "self":
        path = path[:-1]
    return [(alias.strip() or path[-1], path)]


class Crate:
    """The sources of one crate, and who names whom."""

    def __init__(self, name: str, root: Path = ROOT) -> None:
        self.sources: dict[tuple[str, ...], Source] = {}
        self.below: set[str] = set()
        folder = root / "crates" / name / "src"
        paths = sorted(folder.rglob("*.rs"))
        tests = {path for parent in paths for path in test_files(parent)}
        for path in paths:
            relative = path.relative_to(folder)
            if is_test(relative) or path in tests:
                continue
            parts = relative.with_suffix("").parts
            module = parts[:-1] if parts[-1] in {"mod", "lib"} else parts
            text = TOKEN.sub(lambda m: blank(m[0]), path.read_text(encoding="utf-8"))
            self.sources[module] = Source(relative.as_posix(), module, without_tests(text))
        for source in self.sources.values():
            self.read_uses(source)
        self.methods = self.read_methods()

    def read_uses(self, source: Source) -> None:
        for visible, tree in USE.findall(source.text):
            for name, path in leaves(" ".join(tree.split())):
                full = self.absolute(source, path)
                if full is None:
                    continue
                if name == "*":
                    source.globs.append(full[:-1])
                    continue
                (source.exports if visible.strip() else source.imports)[name] = full

    def absolute(self, source: Source, path: tuple[str, ...]) -> tuple[str, ...] | None:
        """A path from the root of the crate; None for one of another crate."""
        at = source.module
        if path[0] == "crate":
            return path[1:]
        if path[0] == "self":
            return at + path[1:]
        if path[0] == "super":
            while path and path[0] == "super":
                at, path = at[:-1], path[1:]
            return at + path
        if (*at, path[0]) in self.sources:
            return at + path
        return None

    def home(self, path: tuple[str, ...], depth: int = 0) -> Source | None:
        """The file in which a path's item is defined; None for a module."""
        at: tuple[str, ...] = ()
        for index, part in enumerate(path):
            source = self.sources.get(at)
            if (*at, part) in self.sources:
                at = (*at, part)
                continue
            if source is None or depth > 8:
                return None
            if part in source.exports:
                return self.home(source.exports[part] + path[index + 1 :], depth + 1) or source
            for glob in source.globs:
                found = self.home((*glob, part), depth + 1)
                if found is not None and re.search(rf"\b{part}\b", found.text):
                    return found
            return source
        return None

    def impls(self, source: Source) -> list[tuple[str, bool, int, int]]:
        """Each impl: its type, whether it is inherent, where it begins and ends."""
        found = []
        for match in IMPL.finditer(source.text):
            header = match[1].split(" where ")[0]
            subject = re.split(r"\bfor\b", header)[-1]
            name = re.search(r"(\w+)\s*(?:<.*)?$", subject.strip(), re.DOTALL)
            if name:
                inherent = not re.search(r"\bfor\s+[^<]", header)
                end = end_of_block(source.text, match.end() - 1)
                found.append((name[1], inherent, match.start(), end))
        return found

    def read_methods(self) -> dict[str, dict[str, str]]:
        """Method name -> type -> file."""
        methods: dict[str, dict[str, str]] = defaultdict(dict)
        for source in self.sources.values():
            for name, inherent, start, end in self.impls(source):
                if inherent:
                    for method in FN.findall(source.text[start:end]):
                        methods[method][name] = source.name
        return methods

    def references(self) -> dict[str, dict[str, set[str]]]:
        """File -> file -> the names for which."""
        edges: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for source in self.sources.values():

            def add(to: str | None, what: str, of: str = source.name) -> None:
                if to is not None and to != of:
                    edges[of][to].add(what)

            for name, path in source.imports.items():
                home = self.home(path)
                add(home.name if home else None, name)
            for glob in source.globs:
                add(self.sources[glob].name if glob in self.sources else None, "*")
            body = USE.sub(lambda m: blank(m[0]), source.text)
            for match in PATH.finditer(body):
                parts = tuple(match[1].split("::"))
                named = source.imports.get(parts[0])
                full = named + parts[1:] if named is not None else self.absolute(source, parts)
                home = self.home(full) if full is not None else None
                add(home.name if home else None, match[1])
            self.follow_calls(source, body, add)
        return edges

    def follow_calls(self, source: Source, body: str, add: Any) -> None:
        impls = self.impls(source)

        def around(at: int) -> str | None:
            return next((name for name, _, start, end in impls if start <= at < end), None)

        for match in CALL.finditer(body):
            method = match[3]
            types = self.methods.get(method)
            if not types:
                continue
            receiver = None if match[2] else match[1]
            before = body[: match.start()].rstrip()
            if receiver and before.endswith("."):
                receiver = "." + receiver
            owner = around(match.start()) if receiver == "self" else RECEIVERS.get(receiver or "")
            if owner is not None:
                add(types.get(owner), f".{method}()")
            elif len(set(types.values())) == 1 and method not in COMMON | self.below:
                add(next(iter(types.values())), f".{method}()")
        for match in TYPED.finditer(body):
            owner = around(match.start()) if match[1] == "Self" else match[1]
            add(self.methods.get(match[2], {}).get(owner or ""), f"{match[1]}::{match[2]}")

    def fields(self) -> dict[str, int]:
        """Fields of each struct, by file and name."""
        counts = {}
        for source in self.sources.values():
            for match in STRUCT.finditer(source.text):
                inner = source.text[match.end() : end_of_block(source.text, match.end() - 1) - 1]
                while (flat := re.sub(r"[(\[{<][^()\[\]{}<>]*[)\]}>]", "", inner)) != inner:
                    inner = flat
                counts[f"{source.name} {match[1]}"] = len(re.findall(r"\w\s*:(?!:)", inner))
        return counts

    def lines(self) -> dict[str, int]:
        """Lines of each function, by file and name."""
        counts: dict[str, int] = {}
        for source in self.sources.values():
            for match in FN.finditer(source.text):
                at = match.end()
                depth = 0
                while at < len(source.text) and not (depth == 0 and source.text[at] in ";{"):
                    depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(source.text[at], 0)
                    at += 1
                if source.text[at : at + 1] == "{":
                    end = end_of_block(source.text, at)
                    key = f"{source.name} {match[1]}"
                    length = source.text.count("\n", match.start(), end) + 1
                    counts[key] = max(length, counts.get(key, 0))
        return counts


def circles(edges: dict[str, dict[str, set[str]]]) -> list[list[str]]:
    """Files that reach one another, the largest circle first."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in edges.get(node, {}):
            if other not in number:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == number[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    sys.setrecursionlimit(10_000)
    for node in list(edges):
        if node not in number:
            visit(node)
    return sorted(found, key=len, reverse=True)


def python_imports(root: Path) -> dict[str, dict[str, set[str]]]:
    """What each module below `root` imports of the others, also where only type checkers look."""
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts): path for path in root.rglob("*.py")
    }
    modules = {name.removesuffix(".__init__"): path for name, path in files.items()}
    edges: dict[str, dict[str, set[str]]] = {}
    for name, path in modules.items():
        package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        found = edges.setdefault(name, {})
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom):
                continue
            above = package[: len(package) - (node.level - 1)] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                target = inner if inner in modules else base
                # (the package itself only gathers names)
                if target in modules and target != name and "." in target:
                    found.setdefault(target, set()).add(alias.name)
    return edges


def part_of(name: str, floor: str) -> str:
    """Which part of a floor a file belongs to: a file, or a folder with the file beside it."""
    return name.removeprefix(f"{floor}/").split("/")[0].removesuffix(".rs")


def measure(name: str, floors: list[str], below: set[str], root: Path = ROOT) -> Figures:
    """The figures of one crate; `below` are the methods of the crates that it stands on."""
    crate = Crate(name, root)
    crate.below = below
    edges = crate.references()
    height = {floor: at for at, floor in enumerate(floors)}
    upward, sideways = [], []
    for source, targets in sorted(edges.items()):
        for target, names in sorted(targets.items()):
            low, high = (height.get(file.split("/")[0]) for file in (source, target))
            words = ", ".join(sorted(names))
            if low is not None and high is not None and low < high:
                upward.append((source, target, words))
            floor = source.split("/")[0]
            if (
                floor in height
                and floor == SIDEWAYS == target.split("/")[0]
                and part_of(source, floor) != part_of(target, floor)
            ):
                sideways.append((source, target, words))
    return Figures(
        circles(edges),
        {key: count for key, count in crate.fields().items() if count > MOST_FIELDS},
        {key: count for key, count in crate.lines().items() if count > MOST_LINES},
        upward,
        sideways,
    )


@cache
def measured() -> dict[str, Figures]:
    """The figures of all crates."""
    table = limits()
    below: set[str] = set()
    figures = {}
    for name in CRATES:
        figures[name] = measure(name, table.get(name, {}).get("floors", []), set(below))
        below |= set(Crate(name).methods)
    return figures


def limits() -> dict[str, Any]:
    """The table."""
    return tomllib.loads(LIMITS.read_text(encoding="utf-8"))


def as_table(figures: Figures, floors: list[str]) -> dict[str, Any]:
    """The figures in the form of the table."""
    entry: dict[str, Any] = {"circles": [len(circle) for circle in figures.circles]}
    if floors:
        entry |= {
            "floors": floors,
            "upward": len(figures.upward),
            "sideways": len(figures.sideways),
        }
    # Files move: a struct and a function are known by their names.
    for key, counts in (("fields", figures.fields), ("lines", figures.lines)):
        named: dict[str, int] = {}
        for place, count in counts.items():
            name = place.split()[-1]
            named[name] = max(count, named.get(name, 0))
        entry[key] = dict(sorted(named.items()))
    return entry


def risen(now: dict[str, Any], limit: dict[str, Any]) -> list[str]:
    """Which figures are above their limits."""
    worse = []
    for what, of in (("the largest circle", max), ("all circles", sum)):
        size, most = of([0, *now["circles"]]), of([0, *limit["circles"]])
        if size > most:
            worse.append(f"{size} files in {what}, where {most} is the limit")
    worse += [
        f"{now[key]} references {key}, where {limit.get(key, 0)} is the limit"
        for key in ("upward", "sideways")
        if now.get(key, 0) > limit.get(key, 0)
    ]
    for key, most in (("fields", MOST_FIELDS), ("lines", MOST_LINES)):
        worse += [
            f"{name} has {count} {key}, where {limit[key].get(name, most)} is the limit"
            for name, count in now[key].items()
            if count > limit[key].get(name, most)
        ]
    return worse


def text_of(table: dict[str, dict[str, Any]]) -> str:
    """The table as TOML."""
    lines = [
        "# What scripts/house.py measures, as it is today. No figure may rise: its `--write` lowers them.",
        "# circles: files that depend on one another, the largest circle first. upward, sideways: references",
        "# from a floor to a higher one, and from one operation to another. fields, lines: structs of more",
        f"# than {MOST_FIELDS} fields, functions of more than {MOST_LINES} lines.",
    ]
    for crate, entry in table.items():
        lines += ["", f"[{crate}]"]
        for key, value in entry.items():
            if isinstance(value, dict):
                inner = ", ".join(f"{name} = {count}" for name, count in value.items())
                lines.append(f"{key} = {{ {inner} }}" if inner else f"{key} = {{}}")
            elif isinstance(value, list):
                lines.append(f"{key} = {str(value).replace(chr(39), chr(34))}")
            else:
                lines.append(f"{key} = {value}")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Print the figures, or lower the limits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--write", action="store_true", help="lower the limits to today's figures")
    parser.add_argument(
        "--upward", metavar="CRATE", help="list the references that run up or sideways"
    )
    given = parser.parse_args()
    old = limits()
    figures = measured()
    table = {n: as_table(f, old.get(n, {}).get("floors", [])) for n, f in figures.items()}
    if given.upward:
        for kind in ("upward", "sideways"):
            for source, target, names in getattr(figures[given.upward], kind):
                print(f"{kind}: {source} -> {target}: {names}")
        return 0
    if not given.write:
        print(text_of(table))
        for name, figure in figures.items():
            for circle in figure.circles:
                print(f"{name}: {len(circle)} files: {', '.join(circle)}")
        return 0
    worse = [f"{n}: {line}" for n, now in table.items() if n in old for line in risen(now, old[n])]
    if worse:
        print("\n".join(worse), file=sys.stderr)
        return 1
    LIMITS.write_text(text_of(table), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
