"""Each rule that code and tests cite is defined once in docs/internals/protocol, and nothing else is."""

from __future__ import annotations

import re

import pytest
from tests.house.kit import ROOT, load

INTERNALS = ROOT / "docs/internals"


coverage = load("scripts/coverage.py")

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


def own_policies() -> str:
    """The page that says of each policy of our own what it answers, and which test holds it."""
    return (INTERNALS / "own-policies.md").read_text(encoding="utf-8")


def unlike_own(defined: dict[str, tuple[str, bool]], page: str) -> list[str]:
    """What a page of own policies says wrongly of these rules: each with its chapter, and whether it is our own."""
    listed = re.findall(r"\[([^\]]+)\]\(protocol/([\w-]+\.md)#([^)]+)\)", page)
    wrong = [
        f"{rule}: the link leads to {name}#{anchor}"
        for rule, name, anchor in listed
        if rule != anchor
    ]
    for rule, name, _ in listed:
        if rule not in defined:
            wrong.append(f"{rule}: not defined")
        elif defined[rule][0] != name:
            wrong.append(f"{rule}: is in {defined[rule][0]}, not in {name}")
    named = {rule for rule, _, _ in listed}
    wrong += [
        f"{rule}: own, and not listed"
        for rule, (_, own) in defined.items()
        if own and rule not in named
    ]
    prose = re.sub(r"\[[^\]]+\]\([^)]*\)", "", page)
    return wrong + [
        f"{rule}: not defined"
        for rule in re.findall(rf"(?<![\w.-]){coverage.ID}\b", prose)
        if rule not in defined
    ]


def test_every_rule_of_our_own_is_accounted_for() -> None:
    found, _ = coverage.definitions(coverage.chapters())
    defined = {rule: (it.chapter, "*Own.*" in it.text) for rule, it in found.items()}
    assert unlike_own(defined, own_policies()) == []


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("[A4-7](protocol/one.md#A4-7)", "E3-3: own, and not listed"),
        ("[E3-3](protocol/one.md#E3-3) and A4-8", "A4-8: not defined"),
        ("[E3-3](protocol/one.md#E3-3), [A4-8](protocol/one.md#A4-8)", "A4-8: not defined"),
        ("[E3-3](protocol/two.md#E3-3)", "E3-3: is in one.md, not in two.md"),
        ("[E3-3](protocol/one.md#A4-7)", "E3-3: the link leads to one.md#A4-7"),
    ],
)
def test_each_fault_of_own_policies_is_found(page: str, complaint: str) -> None:
    assert unlike_own({"E3-3": ("one.md", True), "A4-7": ("one.md", False)}, page) == [complaint]


def test_own_policies_name_tests_and_constants_that_there_are() -> None:
    sources = [*ROOT.glob("crates/**/*.rs"), *ROOT.glob("tests/**/*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources if path.is_file())
    tests = set(re.findall(r"^\s*(?:async )?(?:fn|def) (\w+)\(\)?", code, re.MULTILINE))
    constants = set(re.findall(r"\bconst ([A-Z_]+)\b", code))
    named = set(re.findall(r"`(\w+)`", own_policies()))
    missing = [name for name in named if name.isupper() and name not in constants]
    missing += [
        name for name in named if name.count("_") > 1 and name.islower() and name not in tests
    ]
    assert sorted(missing) == []
