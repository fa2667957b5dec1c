"""Play seeded worlds of the simulator in several processes and add up what they came to.

Each process plays a range of seeds (see crates/mdk-core/tests/simulator.rs) and writes a summary as JSON; the sum of
all is written to --summary and said. The exit code is 1 when a world failed; what failed and the plan that was cut down
stand in the log of its process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TEST = "members_agree_whatever_happens"
# Numbers that say how the worlds were made, not what they came to.
FIXED = {"first", "steps", "seconds"}


def program() -> str:
    """The simulator, built with optimization."""
    command = "cargo test --release --quiet --locked --no-run --message-format=json -p mdk-core --test simulator"
    built = subprocess.run(command.split(), cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    lines = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    return [str(line["executable"]) for line in lines if line.get("executable")][-1]


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
    wanted = parser.parse_args()
    simulator, started = program(), time.monotonic()
    total: dict[str, Any] = {"first": wanted.first, "steps": wanted.steps}
    with tempfile.TemporaryDirectory() as folder:
        running = []
        for job in range(wanted.jobs):
            first = wanted.first + wanted.worlds * job // wanted.jobs
            end = wanted.first + wanted.worlds * (job + 1) // wanted.jobs
            summary = Path(folder) / f"{job}.json"
            env = {
                **os.environ,
                "MDK_SIM_SEED": str(first),
                "MDK_SIM_WORLDS": str(end - first),
                "MDK_SIM_STEPS": str(wanted.steps),
                "MDK_SIM_SUMMARY": str(summary),
                "MDK_THREADS": "1",
                "CARGO_MANIFEST_DIR": str(ROOT / "crates/mdk-core"),
            }
            command = [simulator, "--exact", TEST, "--nocapture"]
            running.append((subprocess.Popen(command, cwd=ROOT, env=env), summary))
        bad = [process.wait() != 0 for process, _ in running]
        for _, summary in running:
            if summary.exists():
                add(total, json.loads(summary.read_text(encoding="utf-8")))
    total["seconds"] = round(time.monotonic() - started)
    text = json.dumps(total)
    print(text)
    if wanted.summary:
        wanted.summary.write_text(text + "\n", encoding="utf-8")
    return int(any(bad) or total.get("worlds") != wanted.worlds)


if __name__ == "__main__":
    sys.exit(main())
