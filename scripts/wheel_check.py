"""What nobody sees by looking at a wheel: guards in its C code, where it was built, and its bill of materials.

    scripts/wheel_check.py dist/marmot_mdk-0.1.0-….whl

`scripts/wheel.py check` runs it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Homes, cargo's and rustup's folders, and the folders of runners, with what follows them.
FOLDERS = re.compile(
    rb"(?:/(?:home|root|Users|private)/|[A-Z]:[\\/](?:Users|a)[\\/]|\.cargo[\\/]|\.rustup[\\/]|mdk-sdist-)[\x21-\x7e]{0,80}"
)
# The C code, which cargo knows as sources in crates, and what stands for the rest.
LISTED = {"openssl-src", "sqlcipher-src", "libsqlite3-sys", "openmls", "mdk-core", "mdk-wire"}


def paths(data: bytes, here: tuple[str, ...] = ()) -> list[str]:
    """Names of folders of the machine that built it, those of `here` among them."""
    found = {match.group().decode("ascii", "replace") for match in FOLDERS.finditer(data)}
    found |= {folder for folder in here if folder.encode() in data}
    return sorted(found)


def folders() -> tuple[str, ...]:
    """This checkout, and where it builds."""
    return (f"{ROOT}/", f"{os.environ.get('CARGO_TARGET_DIR', ROOT / 'target')}/")


def unguarded(program: Path, *, fortified: bool = True) -> list[str]:
    """What a library for Linux lacks of guards, by `readelf`."""
    said = subprocess.run(
        ["readelf", "--wide", "--segments", "--dynamic", "--dyn-syms", str(program)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    ).stdout
    called = set(re.findall(r" UND (\w+)", said))
    lacks = []
    if "__stack_chk_fail" not in called:
        lacks.append("no stack protector (__stack_chk_fail)")
    checked = {name for name in called if name.endswith("_chk")}
    if fortified and not checked:
        lacks.append("no checked buffers (__memcpy_chk and others)")
    if not re.search(r"GNU_RELRO", said):
        lacks.append("no RELRO")
    if not re.search(r"\(FLAGS(?:_1)?\).*\b(?:BIND_NOW|NOW)\b", said):
        lacks.append("symbols are bound late (BIND_NOW)")
    stack = re.search(r"GNU_STACK(?:\s+0x\w+){5}\s+(\w+)", said)
    if stack is None or "E" in stack[1]:
        lacks.append("a stack that can be run")
    if re.search(r"\((?:TEXTREL|RPATH|RUNPATH)\)", said):
        lacks.append("a path for libraries, or code that is written when it is loaded")
    return lacks


def unlisted(bill: bytes, lock: str) -> list[str]:
    """What is wrong with a bill of materials (CycloneDX in JSON)."""
    content = json.loads(bill)
    if content.get("bomFormat") != "CycloneDX":
        return ["it is not CycloneDX"]
    listed = {(part["name"], part["version"]) for part in content.get("components", [])}
    locked = {(part["name"], part["version"]) for part in tomllib.loads(lock)["package"]}
    wrong = [f"{name} is not in it" for name in sorted(LISTED - {name for name, _ in listed})]
    strange = sorted(f"{name} {version}" for name, version in listed - locked)
    return wrong + [f"{part} is in no lock file" for part in strange]


def main() -> int:
    """Print what is wrong; exit 1 when anything is."""
    wheel = Path(sys.argv[1])
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        names = archive.namelist()
        (extension,) = [name for name in names if re.search(r"_mdk\.(?:abi3\.so|pyd)$", name)]
        bills = [name for name in names if name.endswith(".cyclonedx.json")]
        wrong = [] if len(bills) == 1 else [f"{len(bills)} bills of materials, one is expected"]
        for name in bills:
            lock = (ROOT / "Cargo.lock").read_text(encoding="utf-8")
            wrong += [f"{name}: {why}" for why in unlisted(archive.read(name), lock)]
        named = [
            f"{name} names {path}"
            for name in (extension, *bills)
            for path in paths(archive.read(name), folders())
        ]
        # (there OpenSSL names the folder of its modules, and no flag of ours reaches it)
        if extension.endswith(".pyd"):
            print("\n".join(named))
        else:
            wrong += named
        if sys.platform == "linux":
            program = Path(archive.extract(extension, folder))
            fortified = "musllinux" not in wheel.name
            lacks = unguarded(program, fortified=fortified)
            wrong += [f"{extension}: {why}" for why in lacks]
    for line in wrong:
        print(f"wheel: {line}", file=sys.stderr)
    if not wrong:
        print("wheel: guards, no folder's name, bill of materials: all there")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
