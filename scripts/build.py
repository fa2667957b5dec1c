"""Build the extension into this virtual environment, and say how far it is.

Without arguments in the dev profile, which Rust tests share: minutes from nothing, seconds after a change. With
--release as a wheel has it, optimized across crates: some ten minutes, for benchmarks.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal."""
SLOW = {
    "openssl-sys": "OpenSSL from source, the longest part",
    "libsqlite3-sys": "SQLCipher from source",
}


def crates() -> int:
    """How many crates the extension is built of."""
    command = ["cargo", "tree", "--locked", "-p", "mdk-python", "-e", "normal,build"]
    listed = subprocess.check_output([*command, "--prefix", "none"], cwd=ROOT, text=True)
    return len({line.removesuffix(" (*)") for line in listed.splitlines() if line})


def warned(said: list[str]) -> str:
    """What the compiler warned of, a paragraph each: they alone point to a line of a file."""
    paragraphs = "".join(said).split("\n\n")
    found = [
        text[text.index("warning: ") :]
        for text in paragraphs
        if re.search("^ +--> ", text, re.MULTILINE)
    ]
    return "".join(f"{text}\n\n" for text in found)


def main() -> int:
    """Build; on failure everything that the compiler said is printed."""
    release = "--release" in sys.argv[1:]
    total, started, shown = crates(), time.monotonic(), time.monotonic()
    command = [str(Path(sys.executable).with_name("maturin")), "develop", "--locked"]
    command += ["--release"] if release else []
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix, "CARGO_TERM_COLOR": "never"}
    terminal = sys.stdout.isatty()
    kind = "optimized as for a wheel" if release else "for development"
    print(f"build: the extension, {kind}", flush=True)
    said, done, note = [], 0, ""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
    ) as maturin:
        assert maturin.stdout is not None
        for line in maturin.stdout:
            said.append(line)
            words = line.split()
            if not words or words[0] != "Compiling":
                continue
            done += 1
            note = SLOW.get(words[1], words[1])
            now = time.monotonic()
            if terminal or now - shown >= EVERY:
                shown = now
                text = f"build: {done} of {total} crates, {now - started:.0f} s"
                text += f" ({note})"
                print(
                    f"\r\033[K{text}" if terminal else text,
                    end="" if terminal else "\n",
                    flush=True,
                )
    if terminal:
        print("\r\033[K", end="")
    if maturin.returncode:
        print("".join(said), file=sys.stderr)
        return maturin.returncode
    warnings = warned(said)
    Path(sys.prefix, ".warnings").write_text(warnings, encoding="utf-8")
    print(warnings, end="", file=sys.stderr)
    print(f"build: done in {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
