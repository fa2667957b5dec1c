"""Print the slowest tests of a run, and what each area took, from the JUnit files of its runners."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

SHOWN = 20


def tests(path: Path) -> list[tuple[float, str]]:
    """Seconds and name of each test of a file."""
    return [
        (float(case.get("time", "0")), f"{case.get('classname')}::{case.get('name')}")
        for case in ElementTree.parse(path).iter("testcase")
    ]


def area(name: str) -> str:
    """`tests.vault` for a Python test, the crate for a Rust one."""
    return (
        ".".join(name.split(".")[:2])
        if name.startswith("tests.")
        else name.split("::", maxsplit=1)[0]
    )


def main() -> int:
    """Print both lists; files that are not there are named."""
    found: list[tuple[float, str]] = []
    for path in map(Path, sys.argv[1:]):
        if path.exists():
            found += tests(path)
        else:
            print(f"slowest: no {path.name}; its runner tells no durations")
    areas: dict[str, float] = defaultdict(float)
    for seconds, name in found:
        areas[area(name)] += seconds
    print(f"{len(found)} tests, {sum(areas.values()):.0f} s of them together")
    by_time = sorted(areas.items(), key=lambda one: -one[1])
    print("by area: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in by_time))
    print(f"the {SHOWN} slowest:")
    for seconds, name in sorted(found, reverse=True)[:SHOWN]:
        print(f"  {seconds:6.1f} s  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
