"""Hold the licence, ban and source rules of deny.toml over `cargo metadata`, without any tool beyond cargo.

Checks every package of the lock file that the workspace can build, on any platform. Advisories are not checked
here: they need a database (cargo-deny does it).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REGISTRY = "registry+"


class Expression:
    """An SPDX licence expression, evaluated against a set of allowed licences."""

    def __init__(self, text: str) -> None:
        # The old form "MIT/Apache-2.0" means OR.
        self.tokens = re.findall(r"\(|\)|[^\s()]+", text.replace("/", " OR "))
        self.at = 0

    def allowed(self, allow: set[str]) -> bool:
        """True when the licences in `allow` satisfy the whole expression."""
        value = self._any(allow)
        if self.at != len(self.tokens):
            raise ValueError("malformed licence expression")
        return value

    def _take(self, word: str) -> bool:
        if self.at < len(self.tokens) and self.tokens[self.at] == word:
            self.at += 1
            return True
        return False

    def _any(self, allow: set[str]) -> bool:
        value = self._all(allow)
        while self._take("OR"):
            # Both sides are always parsed; `or` would skip tokens.
            right = self._all(allow)
            value = value or right
        return value

    def _all(self, allow: set[str]) -> bool:
        value = self._one(allow)
        while self._take("AND"):
            right = self._one(allow)
            value = value and right
        return value

    def _one(self, allow: set[str]) -> bool:
        if self._take("("):
            value = self._any(allow)
            if not self._take(")"):
                raise ValueError("malformed licence expression")
            return value
        if self.at >= len(self.tokens):
            raise ValueError("malformed licence expression")
        name = self.tokens[self.at]
        self.at += 1
        if self._take("WITH"):
            name = f"{name} WITH {self.tokens[self.at]}"
            self.at += 1
        return name in allow


def complaints(rules: dict[str, Any], metadata: dict[str, Any]) -> list[str]:
    """What breaks the rules, one line each."""
    allow = set(rules["licenses"]["allow"])
    exceptions = {
        entry["crate"]: set(entry["allow"]) for entry in rules["licenses"].get("exceptions", [])
    }
    banned = {entry["crate"] for entry in rules["bans"]["deny"]}
    found = []
    for package in metadata["packages"]:
        label = f"{package['name']} {package['version']}"
        source = package["source"]
        if source is not None and not source.startswith(REGISTRY):
            found.append(
                f"{label}: comes from {source.split(':')[0]}, only the registry is allowed"
            )
        if package["name"] in banned:
            found.append(f"{label}: is banned")
        licence = package["license"]
        if licence is None:
            found.append(f"{label}: names no licence")
            continue
        try:
            fine = Expression(licence).allowed(allow | exceptions.get(package["name"], set()))
        except (ValueError, IndexError):
            fine = False
        if not fine:
            found.append(f"{label}: {licence} is not in the allow list")
        if source is None:
            found += [
                f"{label}: dependency {dependency['name']} has no version"
                for dependency in package["dependencies"]
                if dependency["req"] == "*" and dependency.get("path") is None
            ]
    return found


def main() -> int:
    """Print what is wrong; exit 1 when anything is."""
    rules = tomllib.loads((ROOT / "deny.toml").read_text(encoding="utf-8"))
    raw = subprocess.run(
        ["cargo", "metadata", "--format-version=1", "--all-features", "--locked"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    if raw.returncode != 0:
        print(raw.stderr, file=sys.stderr)
        return 1
    metadata = json.loads(raw.stdout)
    found = complaints(rules, metadata)
    for line in found:
        print(f"licences: {line}", file=sys.stderr)
    if not found:
        print(f"licences: {len(metadata['packages'])} packages, all allowed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
