"""Hold the public API at 100 % known types: `pyright --verifytypes`, with its verdict in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Print the share of known types, and each symbol that is not."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pyright",
            "--verifytypes",
            "mdk",
            "--ignoreexternal",
            "--outputjson",
        ],
        capture_output=True,
        text=True,
        check=False,
        # An editable install is not found everywhere; the source folder is.
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
    )
    try:
        report = json.loads(done.stdout)["typeCompleteness"]
    except (ValueError, KeyError):
        print(done.stdout + done.stderr, file=sys.stderr)
        return 1
    for symbol in report["symbols"]:
        if symbol["isExported"] and not symbol["isTypeKnown"]:
            for diagnostic in symbol["diagnostics"]:
                print(f"{symbol['name']}: {diagnostic['message']}", file=sys.stderr)
    counts = report["exportedSymbolCounts"]
    print(
        f"pyright: {report['completenessScore']:.1%} of {sum(counts.values())} exported symbols have known types"
    )
    return 0 if report["completenessScore"] == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
