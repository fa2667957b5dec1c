"""Run all Rust tests, one test program a core and one test of it at a time.

Engines of one process that lock and unlock memory (SQLCipher does at each allocation) wait for each other, so that two
threads of one test program are hardly faster than one; two programs are. The client's tests mostly wait for relays, and
keep their threads. Arguments are passed on to `cargo test` (which packages). What a program says is shown if it fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WAITS = "mdk-client"
"""The package whose tests wait more than they compute."""


@dataclass(frozen=True)
class Program:
    """A test program, and the directory that it expects to be in."""

    package: str
    name: str
    path: str
    folder: Path


def programs(arguments: list[str]) -> list[Program]:
    """Build the test programs; what comes of the build is said as usual."""
    command = ["cargo", "test", "--locked", "--no-run", *arguments]
    command.append("--message-format=json-render-diagnostics")
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode:
        raise SystemExit(built.returncode)
    found = []
    for line in built.stdout.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("executable") and message["profile"]["test"]:
            folder = Path(message["manifest_path"]).parent
            found.append(
                Program(folder.name, message["target"]["name"], message["executable"], folder)
            )
    # Those that wait leave a core to the others for the longest time.
    return sorted(found, key=lambda program: (program.package != WAITS, program.name))


def run(program: Program) -> tuple[Program, int, str, float]:
    """Run a program to its end: its exit code, what it said, and seconds."""
    env = {**os.environ, "CARGO_MANIFEST_DIR": str(program.folder)}
    if program.package != WAITS:
        env.setdefault("RUST_TEST_THREADS", "1")
    started = time.monotonic()
    done = subprocess.run(
        [program.path, "--quiet"],
        cwd=program.folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return (
        program,
        done.returncode,
        done.stdout.decode(errors="replace"),
        time.monotonic() - started,
    )


def main() -> int:
    """Run them all; the exit code is 1 when one failed."""
    arguments = sys.argv[1:]
    all_of_them = programs(arguments)
    failed = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for program, code, said, seconds in pool.map(run, all_of_them):
            results = [line for line in said.splitlines() if line.startswith("test result:")]
            passed = results[-1].removeprefix("test result: ").split(";")[0] if results else "?"
            name = f"{program.package}::{program.name}"
            print(f"  {name}: {passed} ({seconds:.0f} s)", flush=True)
            if code:
                failed.append(name)
                print(said, flush=True)
    documents = ["cargo", "test", "--locked", "--quiet", "--doc", *arguments]
    if subprocess.run(documents, cwd=ROOT, check=False).returncode:
        failed.append("documentation")
    if not all_of_them:
        failed.append("no test programs")
    if failed:
        print(f"failed: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
