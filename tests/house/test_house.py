"""The house rules that a compiler does not hold: borders between crates, sizes of files, what texts say and name."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# Who may depend on whom, in the order of the house. `mdk-client` joins between core and python; `mdk-relay`
# stands beside it, so that the two ends of a wire have nothing in common but the codecs.
ALLOWED: dict[str, set[str]] = {
    "mdk-wire": set(),
    "mdk-store": {"mdk-wire"},
    "mdk-core": {"mdk-wire", "mdk-store"},
    "mdk-client": {"mdk-wire", "mdk-store", "mdk-core"},
    "mdk-relay": {"mdk-wire"},
    "mdk-python": {"mdk-wire", "mdk-store", "mdk-core", "mdk-client", "mdk-relay"},
    "mdk-floor": set(),
    "mdk-fuzz": {"mdk-wire", "mdk-core", "mdk-client"},
}
# What tests may use beyond that.
IN_TESTS: dict[str, set[str]] = {"mdk-client": {"mdk-relay"}}
# What only one crate may reach: C and SQL, sockets, the interpreter. The floor of the benchmarks stands outside.
BORDERS: dict[str, set[str]] = {
    "rusqlite": {"mdk-store"},
    "libsqlite3-sys": {"mdk-store"},
    # (the fuzz targets have the member on plain OpenMLS of mdk-core's tests)
    "openmls": {"mdk-core", "mdk-fuzz"},
    "openmls_rust_crypto": {"mdk-core", "mdk-fuzz"},
    "negentropy": {"mdk-relay", "mdk-client"},
    "tokio": {"mdk-client", "mdk-relay", "mdk-python"},
    "pyo3": {"mdk-python"},
    "nostr": {"mdk-wire", "mdk-client", "mdk-fuzz"},
}


@cache
def packages() -> dict[str, dict[str, Any]]:
    raw = subprocess.check_output(
        ["cargo", "metadata", "--no-deps", "--format-version=1", "--locked"], cwd=ROOT, text=True
    )
    return {package["name"]: package for package in json.loads(raw)["packages"]}


def dependencies(package: dict[str, Any]) -> set[str]:
    """Names that a package's own code can use; dev-dependencies reach tests only and are judged apart."""
    return {d["name"] for d in package["dependencies"] if d["kind"] is None}


@cache
def files() -> tuple[Path, ...]:
    """What git tracks or would track."""
    raw = subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT
    )
    return tuple(
        p for p in (ROOT / name for name in raw.decode().split("\0") if name) if p.is_file()
    )


def test_the_nostr_library_reads_filters_only() -> None:
    """An event from outside goes to mdk-wire alone."""
    client = ROOT / "crates/mdk-client"
    sources = (p for p in files() if p.suffix == ".rs" and client in p.parents)
    naming = {p for p in sources if re.search(r"\bnostr::", p.read_text(encoding="utf-8"))}
    assert naming == {client / "src/relay_pool/filters.rs"}


def test_dependencies_point_one_way() -> None:
    assert set(ALLOWED) == set(packages()), "a crate came or went"
    for name, package in packages().items():
        inner = {d["name"] for d in package["dependencies"] if d["name"].startswith("mdk-")}
        allowed = ALLOWED[name] | IN_TESTS.get(name, set())
        assert inner <= allowed, f"{name} may not depend on {sorted(inner - allowed)}"
        code = {d for d in dependencies(package) if d.startswith("mdk-")}
        assert code <= ALLOWED[name], f"{name} may use {sorted(code - ALLOWED[name])} in tests only"


def test_borders_hold() -> None:
    for dependency, inside in BORDERS.items():
        users = {n for n, p in packages().items() if dependency in dependencies(p)} - {"mdk-floor"}
        assert users <= inside, f"{dependency} is used by {sorted(users)}"


def test_no_crate_comes_from_git() -> None:
    lock = (ROOT / "Cargo.lock").read_text(encoding="utf-8")
    assert "git+" not in lock


def test_pre_releases_are_pinned_exactly() -> None:
    """A 0.x crate that decides bytes may change them with any minor release."""
    for package in packages().values():
        for dependency in package["dependencies"]:
            if dependency["name"].startswith(("openmls", "pyo3", "rusqlite", "nostr")):
                assert dependency["req"].startswith("="), (
                    f"{dependency['name']} {dependency['req']}"
                )


def test_core_forbids_unsafe_code() -> None:
    core = (ROOT / "crates/mdk-core/src/lib.rs").read_text(encoding="utf-8")
    assert "#![forbid(unsafe_code)]" in core


def test_temporary_tables_stay_in_memory_in_every_build() -> None:
    assert re.search(
        r'LIBSQLITE3_FLAGS\s*=\s*"SQLITE_TEMP_STORE=3"',
        (ROOT / ".cargo/config.toml").read_text(encoding="utf-8"),
    )


def test_files_are_short() -> None:
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in files()
        if path.suffix in {".rs", ".py", ".pyi", ".sql", ".sh"}
        and (lines := path.read_bytes().count(b"\n")) >= 800
    }
    assert not long, f"800 lines are a defect: {long}"


def test_no_bare_unwrap_in_sources() -> None:
    """`expect` says why it cannot happen. Tests may unwrap."""
    found = []
    for path in files():
        relative = path.relative_to(ROOT)
        if path.suffix != ".rs" or relative.parts[0] != "crates" or "src" not in relative.parts:
            continue
        if path.stem == "tests" or "tests" in relative.parts:
            continue
        code = re.split(
            r"#\[cfg\(test\)\]\n(?:#\[[^\n]*\n)*mod \w+ \{", path.read_text(encoding="utf-8")
        )[0]
        found += [
            f"{relative}:{n}" for n, line in enumerate(code.splitlines(), 1) if ".unwrap()" in line
        ]
    assert not found


def test_texts_do_not_speak_of_where_they_were_written() -> None:
    words = re.compile(
        # Split, so that this file does not find itself.
        r"/wo"
        r"rk/|/tmp/br"
        r"ief|/ro"
        r"ot/|\.\./sha"
        r"red|issue #?\d|deb\.deb"
        r"ian|cra"
        r"tes\.io/|py"
        r"pi\.org",
        re.IGNORECASE,
    )
    skipped = {"Cargo.lock"}
    found = []
    for path in files():
        relative = path.relative_to(ROOT)
        if (
            relative.name in skipped
            or relative.parts[:2] == ("tests", "vectors")
            or relative.parts[0] == "fuzz"
        ):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{relative}:{n}: {m[0]}"
            for n, line in enumerate(text.splitlines(), 1)
            if (m := words.search(line))
        ]
    assert not found, "\n".join(found)


def commands() -> list[str]:
    """Every `make TARGET` that a document or the gate runs."""
    command = re.compile(r"(?:^|`)make ([a-z]+(?:-[a-z]+)*)\b", re.MULTILINE)
    found: set[str] = set()
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", ".ci/run"):
        found |= set(command.findall((ROOT / name).read_text(encoding="utf-8")))
    return sorted(found)


def test_documented_commands_exist() -> None:
    done = subprocess.run(
        ["make", "-n", *commands()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_documented_files_exist() -> None:
    """Paths in backticks of the documents are there."""
    missing = []
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"):
        for path in re.findall(
            r"`((?:crates|python|tests|scripts|benches|docs|fuzz)/[\w./-]+)`",
            (ROOT / name).read_text(),
        ):
            missing += [f"{name}: {path}"] if not (ROOT / path).exists() else []
    assert not missing


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_ci_script_parses() -> None:
    assert subprocess.run(["bash", "-n", str(ROOT / ".ci/run")], check=False).returncode == 0


@pytest.mark.parametrize(
    ("source", "enum", "target"),
    [
        ("mdk-core/src/model/error.rs", "Error", "errors/mapping.rs"),
        ("mdk-store/src/error.rs", "OpenError", "errors/mapping.rs"),
        ("mdk-store/src/error.rs", "StoreError", "errors/mapping.rs"),
        ("mdk-store/src/vault/error.rs", "VaultError", "errors/mapping.rs"),
        ("mdk-core/src/model/values.rs", "EventBody", "event_views.rs"),
        ("mdk-client/src/error.rs", "ClientError", "errors/transport.rs"),
        ("mdk-relay/src/error.rs", "RelayError", "errors/transport.rs"),
    ],
)
def test_the_binding_names_every_variant(source: str, enum: str, target: str) -> None:
    text = (ROOT / "crates" / source).read_text(encoding="utf-8")
    body = text.split(f"pub enum {enum} {{", 1)[1].split("\n}", 1)[0]
    variants = re.findall(r"^    ([A-Z]\w+)", body, re.MULTILINE)
    assert len(variants) > (0 if enum == "RelayError" else 5)
    binding = (ROOT / "crates" / "mdk-python" / "src" / target).read_text(encoding="utf-8")
    missing = [v for v in variants if not re.search(rf"\b{enum}::{v}\b", binding)]
    assert missing == []


@pytest.mark.parametrize(
    ("document", "headings"),
    [
        ("SECURITY.md", ["Reporting", "Assets", "Adversaries", "Defended", "Not defended"]),
        ("CHANGELOG.md", ["[Unreleased]"]),
        (
            "CONTRIBUTING.md",
            ["How to add an operation", "How to add a component", "How to add a migration"],
        ),
    ],
)
def test_document_has_its_parts(document: str, headings: list[str]) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for heading in headings:
        assert re.search(rf"^## {re.escape(heading)}", text, re.MULTILINE), heading
