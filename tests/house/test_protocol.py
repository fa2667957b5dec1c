"""Each rule that code and tests cite is defined once in docs/internals/protocol, and nothing else is."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
INTERNALS = ROOT / "docs/internals"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("protocol_coverage", ROOT / "scripts/coverage.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


coverage = load()

ONE = '- **A2-7** <a id="A2-7"></a> The leaf\n  carries a proof.\n'


def test_every_rule_is_defined_once_and_used() -> None:
    defined, wrong = coverage.definitions(coverage.chapters())
    assert wrong + coverage.unlike(defined, coverage.collect()) == []


def test_a_definition_may_take_several_lines() -> None:
    defined, wrong = coverage.definitions({"one.md": ONE})
    assert (defined["A2-7"].text, wrong) == ("The leaf carries a proof.", [])


@pytest.mark.parametrize(
    ("chapters", "used", "complaint"),
    [
        ({"one.md": ONE}, ["A2-7", "A2-8"], "A2-8: not defined"),
        ({"one.md": ONE}, [], "A2-7: defined, but in no source"),
        ({"one.md": ONE + ONE}, ["A2-7"], "A2-7: defined in one.md and in one.md"),
        ({"one.md": ONE, "two.md": ONE}, ["A2-7"], "A2-7: defined in one.md and in two.md"),
        (
            {"one.md": ONE, "two.md": "- **A2-7** again"},
            ["A2-7"],
            "A2-7: defined in two.md without",
        ),
        (
            {"one.md": ONE.replace('id="A2-7"', 'id="A2-8"')},
            ["A2-7"],
            "A2-7: defined in one.md without",
        ),
    ],
)
def test_each_fault_is_found(chapters: dict[str, str], used: list[str], complaint: str) -> None:
    defined, wrong = coverage.definitions(chapters)
    assert [line for line in wrong + coverage.unlike(defined, used) if line.startswith(complaint)]


def test_every_chapter_is_listed() -> None:
    page = (INTERNALS / "protocol.md").read_text(encoding="utf-8")
    listed = re.findall(r"\]\(protocol/([\w-]+\.md)\)", page)
    assert sorted(listed) == sorted(coverage.chapters())


def glossary() -> list[list[str]]:
    """The rows of the glossary: word, meaning, where."""
    page = (INTERNALS / "glossary.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    return [row for row in rows if len(row) == 3][2:]


def test_the_glossary_is_sorted() -> None:
    words = [word.lower() for word, _, _ in glossary()]
    assert words == sorted(set(words))


def test_the_glossary_names_what_there_is() -> None:
    sources = [*ROOT.glob("crates/*/src/**/*.rs"), *ROOT.glob("python/mdk/**/*.py*")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources if path.is_file())
    names = set(re.findall(r"\b[A-Z]\w+", re.sub(r"(?://|#) .*", "", code)))
    missing = []
    for word, _, where in glossary():
        for name in re.findall(r"`([^`]+)`", where):
            if "/" in name:
                missing += [] if (ROOT / name).exists() else [f"{word}: {name}"]
            elif name[0].isupper():
                missing += [] if name in names else [f"{word}: {name}"]
    assert not missing
