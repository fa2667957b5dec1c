"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any


def facts(root: Path) -> dict[str, Any]:
    """Processor, cores, load, system and versions; nothing that names the machine."""
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "filesystem": filesystem(Path(os.environ.get("MDK_BENCH_DIR", tempfile.gettempdir()))),
        "python": platform.python_version(),
        "rust": subprocess.check_output(["rustc", "--version"], cwd=root, text=True).split()[1],
    }


def processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"^model name\s*: (.+)$", info.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def filesystem(folder: Path) -> str:
    """Type of the file system that holds the databases: an fsync means something else on each."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "unknown file system"
    best, kind = "", "unknown file system"
    for line in mounts.read_text(encoding="utf-8").splitlines():
        _, point, found = line.split()[:3]
        if folder.resolve().is_relative_to(point) and len(point) >= len(best):
            best, kind = point, found
    return kind
