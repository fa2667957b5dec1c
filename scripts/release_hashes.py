"""The hashes of a release: SHA256SUMS, and a requirements file that lets pip install nothing else.

scripts/release_hashes.py DIST OUT
pip install --require-hashes -r OUT/requirements-marmot-mdk.txt
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What marmot-mdk needs from elsewhere; requirements-release.txt has its hashes.
NEEDED = ("click",)


def with_hashes(name: str, text: str) -> str:
    """A package of a requirements file, with its hashes."""
    found = re.search(rf"^{name}==.*(?:\\\n.*)+", text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"release: {name} has no hashes in requirements-release.txt")
    return found.group() + "\n"


def write(dist: Path, out: Path) -> None:
    """Write both files."""
    files = sorted([*dist.glob("*.whl"), *dist.glob("*.tar.gz")])
    versions = {path.name.removesuffix(".tar.gz").split("-")[1] for path in files}
    if len(versions) != 1:
        raise SystemExit(f"release: {len(versions)} versions in {dist}, one is expected")
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    out.mkdir(exist_ok=True)
    lines = [f"{value}  {name}\n" for name, value in sums.items()]
    (out / "SHA256SUMS").write_text("".join(lines), encoding="ascii")
    ours = " \\\n".join(
        [f"marmot-mdk=={versions.pop()}", *(f"    --hash=sha256:{v}" for v in sums.values())]
    )
    text = (ROOT / "requirements-release.txt").read_text(encoding="utf-8")
    others = "".join(with_hashes(name, text) for name in NEEDED)
    (out / "requirements-marmot-mdk.txt").write_text(f"{ours}\n{others}", encoding="ascii")


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
