"""Count what an operation makes durable: the fsync calls of a child under strace, between two marks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

OPERATIONS = (
    "send",
    "receive",
    "self_update",
    "process_commit",
    "create",
    "join",
    "ingest",
    "open",
    "key_package",
)
SYNCS = re.compile(r"\b(fsync|fdatasync|sync|syncfs|msync|sync_file_range)\(")
CALLS = "trace=fsync,fdatasync,sync,syncfs,msync,sync_file_range,stat,newfstatat,statx"


def count(
    root: Path, folder: Path, operations: tuple[str, ...]
) -> dict[tuple[str, int], dict[str, Any]]:
    """For each operation the median and the most calls; empty where there is no strace."""
    if shutil.which("strace") is None:
        print("bench: fsyncs are not counted, strace is not installed", file=sys.stderr)
        return {}
    found = {}
    for operation in operations:
        place = folder / f"traced-{operation}"
        place.mkdir(mode=0o700)
        trace = folder / f"trace-{operation}"
        command = ["strace", "-f", "-qq", "-e", CALLS, "-o", str(trace)]
        worker = [
            sys.executable,
            str(root / "benches/ours.py"),
            "--traced",
            operation,
            "2",
            str(place),
        ]
        done = subprocess.run([*command, *worker], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(
                f"bench: fsyncs of {operation} are not counted:\n{done.stderr[-2000:]}",
                file=sys.stderr,
            )
            continue
        counts = between_marks(trace.read_text(encoding="utf-8", errors="replace"))
        members = 1 if operation == "key_package" else 2
        found[operation, members] = {"median": median(counts), "most": max(counts)}
    return found


def between_marks(trace: str) -> list[int]:
    """Calls between each pair of marks."""
    counts: list[int] = []
    inside = False
    for line in trace.splitlines():
        if "/mdk-bench-begin" in line:
            inside = True
            counts.append(0)
        elif "/mdk-bench-end" in line:
            inside = False
        elif inside and SYNCS.search(line) and "resumed>" not in line:
            counts[-1] += 1
    return counts
