"""Run everything at full length, one part after the other, and say how each ended: `make nightly`.

    scripts/nightly.py                  all parts
    scripts/nightly.py fuzz mutants     some of them, by name
    scripts/nightly.py --list           their names and what they run

Counts come from tests/sampling.json. A part that fails does not keep the others from running; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FULL = {"MDK_SAMPLING": "nightly"}
PARTS: dict[str, tuple[str, list[str]]] = {
    "rust": ("all Rust tests, samples at full length", ["make", "test-rust"]),
    "recorded": ("recorded traffic in many orders", ["make", "test-recorded"]),
    "python": ("all Python tests, samples at full length", ["make", "test-vault", "test-python"]),
    "phones": (
        "stories with the times of a user's account, looked at as by phones",
        ["make", "phones"],
    ),
    "check": ("formats, lints, types, licences, tables", ["make", "check"]),
    "clippy": (
        "lints of what the gate does not build",
        ["cargo", "clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"],
    ),
    "simulate": ("simulated worlds, and one broken on purpose", ["make", "simulate"]),
    "torture": ("kills and faults at every call, losses of power, threads", ["make", "torture"]),
    "fuzz": ("libFuzzer, ten million inputs", ["make", "fuzz", "FUZZ_ARGS=--night"]),
    "mutants": ("30 rules broken one at a time", ["make", "mutants"]),
    "memory": ("memory scans of the optimized extension", ["make", "memory"]),
    "bench": ("ours, the peer and the floor", ["make", "bench"]),
    "wheel": ("the wheel, looked at, tried and tested", ["make", "wheel", "wheel-tests"]),
}


def run(name: str) -> tuple[bool, float]:
    """Run a part to its end."""
    title, command = PARTS[name]
    print(f"\n== {name}: {title}", flush=True)
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **FULL}, check=False)
    return done.returncode == 0, time.monotonic() - started


def main() -> int:
    """Run what was asked for; one closing line a part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="these parts only")
    parser.add_argument("--list", action="store_true", help="name the parts and stop")
    options = parser.parse_args()
    if options.list:
        for name, (title, command) in PARTS.items():
            print(f"{name:10} {title}: {' '.join(command)}")
        return 0
    ended = {name: run(name) for name in options.parts or PARTS}
    print("\n== nightly")
    for name, (good, seconds) in ended.items():
        print(f"  {name:10} {'passed' if good else 'FAILED'} in {seconds:.0f} s")
    failed = [name for name, (good, _) in ended.items() if not good]
    print(f"nightly: {', '.join(failed)} failed" if failed else "nightly: all parts passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
