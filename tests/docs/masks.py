"""What of a shown output has to be the same, and how names of the network are replaced."""

from __future__ import annotations

import re

# In this order: an id may contain what looks like a number.
MASKS = (
    (re.compile(r"(?:nostr:)?\b(npub|nprofile|nsec)1[02-9ac-hj-np-z]+…?"), r"<\1>"),
    (re.compile(r"wss?://[\w.:-]+/?"), "<relay>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b"), "<id>"),
    (re.compile(r"\d(?:[\d.,:+-]|T(?=\d))*"), "0"),
    (re.compile(r" +"), " "),
)
# Anything may stand here.
GAP = "..."
HINT = re.compile(r" +-> ")
PLACEHOLDER = re.compile(r"\bnpub1q{20,}\b")
RELAY = re.compile(r"\bwss://[a-z0-9.-]+")


def masked(line: str) -> str:
    """A line without ids, addresses, times and numbers; runs of spaces count as one."""
    for pattern, instead in MASKS:
        line = pattern.sub(instead, line)
    return line.rstrip()


def same(expected: list[str], seen: list[str]) -> bool:
    """Whether an output is the one that is shown. A line `...` stands for any number of lines."""
    parts: list[list[str]] = [[]]
    for line in (masked(text) for text in expected):
        if line == GAP:
            parts.append([])
        else:
            parts[-1].append(line)
    lines = [masked(text) for text in seen]
    if len(parts) == 1:
        return lines == parts[0]
    first, *middle, last = parts
    if lines[: len(first)] != first or (last and lines[-len(last) :] != last):
        return False
    place, end = len(first), len(lines) - len(last)
    for part in middle:
        found = (
            at for at in range(place, end - len(part) + 1) if lines[at : at + len(part)] == part
        )
        at = next(found, None)
        if at is None:
            return False
        place = at + len(part)
    return place <= end


def without(lines: list[str], topics: list[str]) -> list[str]:
    """A screen of `mdk doctor` without what it says, and advises, about these topics."""
    kept: list[str] = []
    left_out = False
    for line in lines:
        if not HINT.match(line):
            _level, topic, *_ = *line.split(), "", ""
            left_out = topic in topics
        if not left_out:
            kept.append(line)
    return kept


def relay_names(code: str) -> list[str]:
    """Names of relays in a program, in their order."""
    return list(dict.fromkeys(RELAY.findall(code)))


def localized(code: str, relays: list[str], partner: str) -> str:
    """The program with the network of a test.

    The first name of a relay becomes the first local relay, the second the second, every other one the first again;
    `npub1qqq…` becomes somebody who accepts every invite and answers with what was said.
    """
    names = relay_names(code)

    def replace(match: re.Match[str]) -> str:
        place = names.index(match[0])
        return relays[place] if place < len(relays) else relays[0]

    return PLACEHOLDER.sub(partner, RELAY.sub(replace, code))
