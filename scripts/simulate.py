"""Play seeded worlds of the simulator in several processes and add up what they came to.

Each world is played by a process of its own (see crates/mdk-core/tests/simulator). On Linux that process lives in
one moment of a fixed day and draws its random numbers from the seed (libfaketime, from requirements-dev.txt), so a
seed gives the same world every time, keys and hashes included, and what failed can be looked at again: `--first SEED
--worlds 1`, with MDK_SIM_STORY=1 for its story. `--chance` leaves the random numbers to chance: the same plans, other
worlds.

The sum is written to --summary and said. The exit code is 1 when a world failed; what failed and the plan that was cut
down stand in the log.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TEST = "simulator::members_agree_whatever_happens"
# Numbers that say how the worlds were made, not what they came to.
FIXED = {"first", "steps", "seconds"}
DAY = "2026-01-01 00:00:00"


def program() -> str:
    """The simulator, built with optimization."""
    command = "cargo test --profile long --quiet --locked --no-run --message-format=json -p mdk-core --test all"
    built = subprocess.run(command.split(), cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    lines = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    return [str(line["executable"]) for line in lines if line.get("executable")][-1]


def fate(library: Path, seed: int) -> dict[str, str]:
    """What a process needs to draw its random numbers from a seed, in one moment of a fixed day."""
    # An odd number with bits everywhere: the generator makes little of a small one.
    number = int.from_bytes(hashlib.sha256(b"%d" % seed).digest()[:7], "big") | 1
    return {
        "LD_PRELOAD": str(library),
        "FAKERANDOM_SEED": hex(number),
        "FAKETIME": DAY,
        "TZ": "UTC",
        # Time is still measured, and files have their own.
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def works(library: Path) -> bool:
    """True when two processes draw the same numbers at the same time."""
    code = "import os, time; print(os.getrandom(16).hex(), time.time())"
    env = {**os.environ, **fate(library, 1)}
    runs = [
        subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=False)
        for _ in range(2)
    ]
    return runs[0].stdout != b"" and runs[0].stdout == runs[1].stdout


def library() -> Path | None:
    """The library that takes chance away, compiled here; None where that cannot be done."""
    spec = importlib.util.find_spec("libfaketime") if sys.platform == "linux" else None
    if spec is None or spec.origin is None or shutil.which("taskset") is None:
        return None
    source = Path(spec.origin).parent / "vendor/libfaketime/src"
    folder = Path(sys.prefix) / "libfaketime-random"
    built = folder / "libfaketime.so.1"
    if not built.exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.so.1"))
        flags = "FAKETIME_COMPILE_CFLAGS=-DFAKE_RANDOM -DINTERCEPT_SYSCALL"
        made = subprocess.run(["make", "-s", flags, built.name], cwd=folder, check=False)
        if made.returncode != 0:
            return None
    return built if works(built) else None


def play(
    simulator: str, fated: Path | None, core: int, seed: int, steps: int
) -> dict[str, Any] | None:
    """What a world came to; None when it did not end."""
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        env = {
            **os.environ,
            **(fate(fated, seed) if fated else {}),
            "MDK_SIM_SEED": str(seed),
            "MDK_SIM_WORLDS": "1",
            "MDK_SIM_STEPS": str(steps),
            "MDK_SIM_SUMMARY": str(summary),
            "MDK_THREADS": "1",
            "CARGO_MANIFEST_DIR": str(ROOT / "crates/mdk-core"),
        }
        command = [simulator, "--exact", TEST, "--nocapture", "--quiet"]
        if fated:
            # Threads would draw from the one source in any order; where there is one core the engine starts none.
            command = ["taskset", "--cpu-list", str(core), *command]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=env,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        # (a world says nothing but its end, unless it failed or tells its story)
        said = done.stdout.decode(errors="replace")
        if done.returncode == 0 and "MDK_SIM_STORY" not in os.environ:
            said = "".join(
                f"{line}\n" for line in said.splitlines() if line.startswith(f"world {seed}:")
            )
        print(said, end="", flush=True)
        if not summary.exists():
            return None
        came_to: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
        return came_to


def add(total: dict[str, Any], part: dict[str, Any]) -> None:
    """Add a process's summary to the sum of all."""
    for name, value in part.items():
        if name in FIXED:
            continue
        total[name] = total.get(name, [] if isinstance(value, list) else 0) + value


def main() -> int:
    """Play the worlds; the exit code is 1 when one of them failed or was not played."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--worlds", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--summary", type=Path, help="where the sum is written, as JSON")
    parser.add_argument("--chance", action="store_true", help="do not draw keys from the seed")
    parser.add_argument("--simulator", help="the program, where it is built already")
    wanted = parser.parse_args()
    fated = None if wanted.chance else library()
    if fated is None and not wanted.chance:
        print("simulate: keys are drawn by chance here, a seed does not give the same world again")
    simulator, started = wanted.simulator or program(), time.monotonic()
    total: dict[str, Any] = {"first": wanted.first, "steps": wanted.steps, "worlds": 0}
    cores: Queue[int] = Queue()
    usable = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else [0]
    for job in range(wanted.jobs):
        cores.put(usable[job % len(usable)])

    def one(seed: int) -> dict[str, Any] | None:
        core = cores.get()
        try:
            return play(simulator, fated, core, seed, wanted.steps)
        finally:
            cores.put(core)

    with ThreadPoolExecutor(wanted.jobs) as pool:
        for part in pool.map(one, range(wanted.first, wanted.first + wanted.worlds)):
            add(total, part or {})
    total["seconds"] = round(time.monotonic() - started)
    text = json.dumps(total)
    print(text)
    if wanted.summary:
        wanted.summary.write_text(text + "\n", encoding="utf-8")
    empty = not all(total.get(name) for name in ("agreed", "messages", "commits"))
    return int(empty or bool(total.get("failed")) or total["worlds"] != wanted.worlds)


if __name__ == "__main__":
    sys.exit(main())
