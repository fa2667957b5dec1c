"""Run all Rust tests in several processes, in each of them one test at a time.

Engines of one process that lock and unlock memory (SQLCipher does at each allocation) wait for each other, so that two
threads of one test program are hardly faster than one; two processes are. A program of many tests is therefore run in
parts, and one process more than there are cores, since each waits for the disk at times. The client's tests mostly wait
for relays: they keep their threads, and their programs run one after the other beside all others.

The engine's tests lock no pages (no_mlock.py).

Arguments are passed on to `cargo test` (which packages). What a program says is shown if it fails.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import no_mlock

ROOT = Path(__file__).resolve().parent.parent
WAITS = "mdk-client"
"""The package whose tests wait more than they compute."""
UNLOCKED = "mdk-core"
"""The package whose tests do not lock pages."""
LONG = ("scenarios", "converge_shuffles")
"""Programs that no division makes short: what begins last should not be what ends last."""
PART = 40
"""Tests in a part."""


@dataclass(frozen=True)
class Program:
    """A test program or a part of one, and the directory that it expects to be in."""

    package: str
    name: str
    path: str
    folder: Path
    tests: tuple[str, ...] = ()
    preload: str = ""

    def title(self) -> str:
        """As it is named to people."""
        return f"{self.package}::{self.name}"

    def command(
        self, *arguments: str, stderr: int | None = subprocess.STDOUT
    ) -> subprocess.CompletedProcess[bytes]:
        """Run it with these arguments, to its end."""
        env = {**os.environ, "CARGO_MANIFEST_DIR": str(self.folder)}
        if self.package != WAITS:
            env.setdefault("RUST_TEST_THREADS", "1")
        if self.preload:
            env["LD_PRELOAD"] = f"{self.preload} {env.get('LD_PRELOAD', '')}"
        return subprocess.run(
            [self.path, *arguments],
            cwd=self.folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=stderr,
            check=False,
        )


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
    preload = no_mlock.library(Path(found[0].path)) if found else ""
    found = [
        replace(program, preload=preload) if program.package == UNLOCKED else program
        for program in found
    ]
    return sorted(found, key=lambda program: (program.name not in LONG, program.title()))


def parts(program: Program) -> list[Program]:
    """The program, or parts of it if it has many tests and is not one that waits."""
    if program.package == WAITS:
        return [program]
    listed = program.command("--list", "--format", "terse", stderr=None)
    if listed.returncode:
        raise SystemExit(f"{program.title()} does not list its tests: {listed.stdout.decode()}")
    lines = listed.stdout.decode().splitlines()
    tests = [line.removesuffix(": test") for line in lines if line.endswith(": test")]
    count = -(-len(tests) // PART)
    if count < 2:
        return [replace(program, tests=tuple(tests))]
    # Neighbours are of one kind and take alike: a part has some of each.
    return [
        replace(program, name=f"{program.name} {at + 1}/{count}", tests=tuple(tests[at::count]))
        for at in range(count)
    ]


SUMMARY = re.compile(
    r"^test result: (?P<all>\w+\. (?P<passed>\d+) passed); (?P<failed>\d+) failed; (?P<ignored>\d+) ignored",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Ended:
    """What came of a program or a part of one."""

    program: Program
    said: str
    verdict: str
    seconds: float
    good: bool


def run(program: Program) -> Ended:
    """Run it to its end. It is good if it says so itself, of each test that it was asked for."""
    started = time.monotonic()
    which = ("--exact", *program.tests) if program.tests else ()
    done = program.command("--quiet", *which)
    said = done.stdout.decode(errors="replace")
    # Tests that start their own program again print its summary, too; the last one is that of all.
    summaries = list(SUMMARY.finditer(said))
    verdict, good = f"ended with {done.returncode} and no result", False
    if summaries:
        last = summaries[-1]
        count = int(last["passed"]) + int(last["failed"]) + int(last["ignored"])
        complete = not program.tests or count == len(program.tests)
        verdict = last["all"] if complete else f"{last['all']} of {len(program.tests)} tests"
        good = complete and done.returncode == 0
    return Ended(program, said, verdict, time.monotonic() - started, good)


def main() -> int:
    """Run them all; the exit code is 1 when one failed."""
    arguments = sys.argv[1:]
    all_of_them = [part for program in programs(arguments) for part in parts(program)]
    failed = []
    waiting = ThreadPoolExecutor(1)
    computing = ThreadPoolExecutor((os.cpu_count() or 1) + 1)
    try:
        runs = [
            (waiting if part.package == WAITS else computing).submit(run, part)
            for part in all_of_them
        ]
        for ended in (done.result() for done in as_completed(runs)):
            title = ended.program.title()
            print(f"  {title}: {ended.verdict} ({ended.seconds:.0f} s)", flush=True)
            if not ended.good:
                failed.append(title)
                print(ended.said, flush=True)
    finally:
        # Whoever interrupts it does not want the rest.
        for pool in (waiting, computing):
            pool.shutdown(cancel_futures=True)
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
