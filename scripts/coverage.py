"""Generate docs/coverage.md: every protocol rule, where the code enforces it, and the tests that concern it.

A rule is named where it is enforced by a comment `// rule: A2-7` (more ids may follow, separated by commas) in a
crate's `src`. Tests (in `tests` folders and `tests` modules) name it in one of two ways:

- broken by: the id stands as data (`"A2-7"`), or in a comment `// rule: A2-7`: something goes against the rule there
  and is turned away;
- shown by: a comment `// shows: A2-7`: our own behaviour keeps the rule there, and nobody breaks it.
  `// shows: the quoted rules` above a test says this of its quoted ids.

Ids in a table or helper count for the tests that use it, in its file or through `file::name` in the same folder and
its parent module. `// coverage: no case` above an item hides it. What a rule asks is defined in a chapter of
docs/internals/protocol, once: `- **A2-7** <a id="A2-7"></a> Text.` docs/rules.toml gives a reason to rules that have no
test, to those that are broken only on a view of a group made by hand, never on bytes, and, where it is to be told, to
those that tests only show because nothing can break them. `--check` compares, and fails when a rule lacks a definition,
a place in the code, or a test and a reason.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs/coverage.md"
RULES = ROOT / "docs/rules.toml"
PROTOCOL = ROOT / "docs/internals/protocol"
# Tests here judge views of groups and commits that they make by hand.
VIEWS = "crates/mdk-core/src/policy/tests"
ID = r"(?:V2-)?(?:[A-F][1-9]|2\.\d{1,2}|OB)-[a-z]?\d{1,3}[a-z]?"
IDS = rf"({ID}(?:\s*(?:,|and)\s*{ID})*)"
COMMENT = re.compile(rf"(?://|#).*?\brules?: *{IDS}")
SHOWN = re.compile(rf"(?://|#).*?\bshows: *{IDS}")
SHOWS_QUOTED = "shows: the quoted rules"
HIDDEN = "coverage: no case"
QUOTED = re.compile(rf'"({ID})[":]')
ITEM = re.compile(
    r"(?:pub(?:\(\w+\))? )?(?:(?:const |async )?fn|const|static|(?:async )?def|class) (\w+)"
)
LEADING = re.compile(r"\s*(?://|#|@|$)")
DEFINED = re.compile(
    rf'^- \*\*({ID})\*\* <a id="\1"></a> (.+(?:\n  .+)*)|^- \*\*({ID})', re.MULTILINE
)
PROSE = re.compile(r'"(?:[^"\\\n]|\\.)*"|//.*')


@dataclass
class Rule:
    """Where one rule stands."""

    enforced: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    shown: set[str] = field(default_factory=set)


@dataclass
class Definition:
    """What a rule asks, and where that stands."""

    chapter: str
    text: str


@dataclass
class Item:
    """One function or table of a test file, with the comments and attributes above it."""

    path: Path
    name: str
    is_test: bool
    lines: list[str]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines)

    def mentions(self, name: str) -> bool:
        """Whether its code, comments and strings apart, has the name."""
        return bool(re.search(rf"\b{name}\b", PROSE.sub("", self.text)))


def plain(rule: str) -> str:
    """The id without the optional prefix of the protocol generation."""
    return rule.removeprefix("V2-")


def named(pattern: re.Pattern[str], line: str) -> list[str]:
    """Ids that a line names by a comment."""
    return [plain(rule) for group in pattern.findall(line) for rule in re.findall(ID, group)]


def definitions(chapters: dict[str, str]) -> tuple[dict[str, Definition], list[str]]:
    """Every definition in the chapters, whose texts are given by name, and what is wrong with them."""
    found: dict[str, Definition] = {}
    wrong = []
    for chapter, page in chapters.items():
        for rule, text, bare in DEFINED.findall(page):
            if bare:
                wrong.append(f"{bare}: defined in {chapter} without an anchor or a text")
            elif rule in found:
                wrong.append(f"{rule}: defined in {found[rule].chapter} and in {chapter}")
            else:
                found[rule] = Definition(chapter, " ".join(text.split()))
    return found, wrong


def chapters() -> dict[str, str]:
    """The chapters of the protocol, by name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(PROTOCOL.glob("*.md"))}


def unlike(defined: Collection[str], used: Collection[str]) -> list[str]:
    """Rules that are only defined, or only used."""
    bare = [
        f"{rule}: not defined in docs/internals/protocol" for rule in used if rule not in defined
    ]
    return bare + [f"{rule}: defined, but in no source" for rule in defined if rule not in used]


def sources() -> list[Path]:
    """Rust and Python files that may name a rule."""
    found = [
        *ROOT.glob("crates/*/src/**/*.rs"),
        *ROOT.glob("crates/*/tests/**/*.rs"),
        *ROOT.glob("tests/**/*.py"),
    ]
    return sorted(p for p in found if "house" not in p.parts)


def split(path: Path, lines: list[str]) -> tuple[list[str], list[str]]:
    """Lines of code, and lines of tests."""
    if "tests" in path.relative_to(ROOT).parts or path.stem in {"tests", "conftest"}:
        return [], lines
    for number, line in enumerate(lines):
        if re.match(r"mod tests \{", line):
            return lines[:number], [text.removeprefix("    ") for text in lines[number + 1 :]]
    return lines, []


def items(path: Path, lines: list[str]) -> list[Item]:
    """The functions and tables of a test file. Functions inside of a function belong to it."""
    found: list[Item] = []
    above: list[str] = []
    for line in lines:
        match = ITEM.match(line)
        if match:
            is_test = "#[test]" in above or (path.suffix == ".py" and match[1].startswith("test_"))
            found.append(Item(path, match[1], is_test, [*above, line]))
            above = []
        elif LEADING.match(line) and not line.startswith(" "):
            above = [*above, line] if line.strip() else []
        elif found:
            found[-1].lines.append(line)
    return found


def tests_of(item: Item, every: list[Item]) -> list[Item]:
    """The tests that an item's ids count for."""
    reached, queue = {id(item)}, [item]
    tests: list[Item] = []
    while queue:
        used = queue.pop()
        if used.is_test:
            tests.append(used)
            continue
        for other in every:
            if id(other) not in reached and uses(other, used):
                reached.add(id(other))
                queue.append(other)
    return tests


def uses(user: Item, used: Item) -> bool:
    """Whether an item names another, of its own file or of a module beside or below it."""
    if user.path == used.path:
        return user.mentions(used.name)
    folder = used.path.parent
    if user.path.parent != folder and user.path != folder.with_suffix(".rs"):
        return False
    if user.mentions(f"{used.path.stem}::{used.name}"):
        return True
    imported = rf"\buse {used.path.stem}::[^;]*\b{used.name}\b"
    whole = user.path.read_text(encoding="utf-8")
    return bool(re.search(imported, whole)) and user.mentions(used.name)


def collect() -> dict[str, Rule]:
    """Every rule id in the sources."""
    rules: dict[str, Rule] = defaultdict(Rule)
    every: list[Item] = []
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        code, test_code = split(path, text.splitlines())
        for line in code:
            for rule in named(COMMENT, line):
                rules[rule].enforced.add(name)
        every += items(path, test_code)
    visible = [item for item in every if HIDDEN not in item.text]
    for item in visible:
        broken, shown = set[str](), set[str]()
        for line in item.lines:
            broken.update(named(COMMENT, line))
            shown.update(named(SHOWN, line))
            quoted = shown if SHOWS_QUOTED in item.text else broken
            quoted.update(plain(rule) for rule in QUOTED.findall(line))
        if not broken and not shown:
            continue
        tests = tests_of(item, visible)
        if not tests:
            raise SystemExit(f"coverage: {item.path}: no test uses {item.name}, which names rules")
        for test in tests:
            where = f"`{test.name}` ({test.path.relative_to(ROOT).as_posix()})"
            for rule in broken:
                rules[rule].broken.add(where)
            for rule in shown:
                rules[rule].shown.add(where)
    return rules


def order(rule: str) -> tuple[str, int, int, str]:
    """Table rows in the order of the specification."""
    family, _, number = rule.partition("-")
    digits = re.match(r"\D*(\d+)", number)
    major, _, minor = family.partition(".")
    return major, int(minor or 0), int(digits[1]) if digits else 0, number


def row_head(rule: str, defined: dict[str, Definition]) -> str:
    """The first two cells of a row: the id, linked to its definition, and what the rule asks."""
    at = defined.get(rule)
    if at is None:
        return f"{rule} | **not defined**"
    # Links of a definition begin in its chapter.
    text = re.sub(r"\]\((?=[\w-]+\.md)", "](internals/protocol/", at.text)
    text = text.replace("](../", "](internals/").replace("|", "\\|")
    return f"[{rule}](internals/protocol/{at.chapter}#{rule}) | {text}"


def render() -> tuple[str, list[str]]:
    """The whole page, and what is missing in it."""
    known = tomllib.loads(RULES.read_text(encoding="utf-8")) if RULES.exists() else {}
    reasons: dict[str, str] = known.get("without_case", {})
    views: dict[str, str] = known.get("without_bytes", {})
    unbroken: dict[str, str] = known.get("without_breach", {})
    rules = collect()
    defined, missing = definitions(chapters())
    unknown = [i for i in (*reasons, *views, *unbroken) if i not in rules]
    ids = sorted(rules, key=order)
    broken = [i for i in ids if rules[i].broken]
    shown = [i for i in ids if rules[i].shown and not rules[i].broken]
    bare = [i for i in ids if not rules[i].shown and not rules[i].broken]
    by_hand = [i for i in broken if all(f"({VIEWS}" in where for where in rules[i].broken)]
    summary = f"{len(ids)} rules: {len(broken)} that at least one test breaks on purpose, {len(shown)} that tests only "
    summary += f"show to be kept ({len(unbroken)} of these say why nothing breaks them), {len(bare)} without a test. "
    summary += (
        f"{len(by_hand)} of the broken ones are so on a view made by hand only, not on bytes."
    )
    lines = [
        "# Protocol rules and their tests",
        "",
        "Generated by `make coverage` from the rule ids in code and tests; `make check` fails when it is out of date.",
        "",
        summary,
        "",
        "- Broken by: tests in which an input or a call goes against the rule and is turned away.",
        "- Shown by: tests in which our own behaviour keeps the rule; nothing breaks it there.",
        "",
        "The table is made of what code and tests say of themselves. It tells where to look, not that a test suffices.",
        "Tests in `recorded` folders need the clock of their recording and run in `make test-recorded`.",
        "",
        "| Rule | What it asks | Enforced in | Broken by | Shown by |",
        "| --- | --- | --- | --- | --- |",
    ]
    for rule in ids:
        entry = rules[rule]
        enforced = ", ".join(sorted(entry.enforced)) or "–"
        cases = ["<br>".join(sorted(tests)) or "–" for tests in (entry.broken, entry.shown)]
        if rule in unbroken:
            cases[0] = f"nothing breaks it: {unbroken[rule]}"
        if rule in by_hand:
            cases[0] += f"<br>on a view made by hand only: {views.get(rule, '**no reason given**')}"
        lines.append(f"| {row_head(rule, defined)} | {enforced} | {cases[0]} | {cases[1]} |")
    lines += ["", "## Rules without a test", ""]
    lines += [f"- {rule}: {reasons.get(rule, '**no reason given**')}" for rule in bare] or ["None."]
    missing += unlike(defined, ids)
    missing += [f"{i}: nothing enforces it" for i in ids if not rules[i].enforced]
    missing += [f"{i}: no test and no reason" for i in bare if i not in reasons]
    missing += [f"{i}: has a test, so it needs no reason" for i in reasons if i not in bare]
    missing += [f"{i}: broken by hand only, without a reason" for i in by_hand if i not in views]
    missing += [f"{i}: broken on bytes, so it needs no reason" for i in views if i not in by_hand]
    missing += [f"{i}: broken, so it needs no reason" for i in unbroken if i not in shown]
    missing += [f"{i}: in docs/rules.toml, but in no source" for i in unknown]
    return "\n".join(lines) + "\n", missing


def main() -> int:
    """Write the page, or compare it with `--check`."""
    page, missing = render()
    if "--check" not in sys.argv[1:]:
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(page, encoding="utf-8")
    elif not TABLE.exists() or TABLE.read_text(encoding="utf-8") != page:
        print("coverage: docs/coverage.md is not up to date, run make coverage", file=sys.stderr)
        return 1
    print(f"coverage: {page.splitlines()[4]}")
    for line in missing:
        print(f"coverage: {line}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
