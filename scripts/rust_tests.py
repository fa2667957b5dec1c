"""Run Rust tests: with cargo-nextest where it is installed, else with plain cargo.

    scripts/rust_tests.py                    everything but the recorded traffic (recorded_clock.py runs that)
    scripts/rust_tests.py --unit             the unit tests alone
    scripts/rust_tests.py --build            build the programs and run none
    scripts/rust_tests.py --lints FILE       fail where the compiler warns, or FILE has what it warned of the extension
    scripts/rust_tests.py --only EXPRESSION  a nextest filter, for instance 'test(/^converge::/)'

Every call names the same packages: with another choice cargo would build their dependencies again, with other features.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import no_mlock

ROOT = Path(__file__).resolve().parent.parent
# The extension is tested from Python: a Rust test program cannot link it without an interpreter's library.
TESTED = ["--workspace", "--exclude", "mdk-python", "--exclude", "mdk-floor"]
# Below the workspace, wherever cargo builds.
JUNIT = "target/nextest/default/junit.xml"


def has_nextest() -> bool:
    """Whether `cargo nextest` can be called."""
    return shutil.which("cargo-nextest") is not None


def without_mlock() -> dict[str, str]:
    """No pages are locked: a store's tests would spend most of their time on it. Those of mdk-wire are about that."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    preload = no_mlock.library(target)
    return {"LD_PRELOAD": preload} if preload else {}


def lints(extension: Path) -> int:
    """Show what the compiler warns of, as it said when it compiled; 1 if there is anything."""
    if not os.environ.get("RUSTC_WORKSPACE_WRAPPER"):
        raise SystemExit("lints need clippy-driver: rustup component add clippy")
    command = ["cargo", "test", "--quiet", "--locked", "--no-run", *TESTED]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = extension.read_text(encoding="utf-8") + built.stderr
    print(said, end="", file=sys.stderr)
    return int(built.returncode != 0 or "warning: " in said)


def main() -> int:
    """Build and run what was asked for; the exit code is the runner's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unit", action="store_true", help="unit tests only")
    parser.add_argument("--build", action="store_true", help="build only")
    parser.add_argument("--lints", type=Path, metavar="FILE", help="fail where the compiler warns")
    parser.add_argument("--only", metavar="EXPRESSION", help="a filter of nextest")
    parser.add_argument("--package", action="append", default=[], help="only this package's tests")
    options = parser.parse_args()
    selected = [*TESTED, *(["--lib"] if options.unit else [])]
    if options.lints:
        return lints(options.lints)
    if options.build:
        return subprocess.call(
            ["cargo", "test", "--quiet", "--locked", "--no-run", *selected], cwd=ROOT
        )
    if not has_nextest():
        if options.only:
            raise SystemExit("--only needs cargo-nextest (cargo install cargo-nextest --locked)")
        packages = [f"--package={name}" for name in options.package]
        # One process runs a program's tests in threads.
        return subprocess.call(
            ["cargo", "test", "--quiet", "--locked", *(packages or TESTED)]
            + (["--lib"] if options.unit else []),
            cwd=ROOT,
        )
    filters = [f"package({name})" for name in options.package]
    wanted = " | ".join(filters) or "all()"
    if options.only:
        wanted = f"({wanted}) & ({options.only})"
    (ROOT / JUNIT).unlink(missing_ok=True)
    command = ["cargo", "nextest", "run", "--locked", "--cargo-quiet", "--no-tests=pass", *selected]
    shown = {**os.environ, "NEXTEST_HIDE_PROGRESS_BAR": "1"}
    locking = "package(mdk-wire)"
    return max(
        subprocess.call([*command, "-E", f"({wanted}) & {locking}"], cwd=ROOT, env=shown),
        subprocess.call(
            [*command, "-E", f"({wanted}) - {locking}"], cwd=ROOT, env={**shown, **without_mlock()}
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
