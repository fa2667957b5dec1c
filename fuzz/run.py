#!/usr/bin/env python3
"""Builds and runs the fuzz targets for a bounded time, or for so many inputs.

    python3 fuzz/run.py --seconds 30                 every target, 30 seconds each
    python3 fuzz/run.py --seconds 300 payload text   two of them
    python3 fuzz/run.py --night                      ten million inputs, shared out as tests/sampling.json says
    python3 fuzz/run.py --keep                       write what the corpus has beyond the seeds into fuzz/kept
    python3 fuzz/run.py --seeds-only                 write the seeds and stop

Needs a nightly toolchain and a C++ compiler; cargo-fuzz is not needed. The seeds come from fuzz/src/seeds.rs, those in
fuzz/kept with them, and the corpus grows in fuzz/corpus/<target>; a finding is kept in fuzz/artifacts/<target> and its
output is printed.

Exit codes: 0 nothing found, 1 a finding, 2 the build failed, or a target did not run or not for all of its inputs, 3 no
nightly toolchain.
"""

import argparse
import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

FUZZ = Path(__file__).resolve().parent
LIBFUZZER, CORPUS, KEPT = FUZZ / "libfuzzer", FUZZ / "corpus", FUZZ / "kept"
FOUND, BROKEN, NO_NIGHTLY = 1, 2, 3

TARGETS = sorted(path.stem for path in (LIBFUZZER / "fuzz_targets").glob("*.rs"))

LONGEST_NIGHT = 3600
"""Seconds after which a target has to be through with its inputs of a night."""
MOST_KEPT, MOST_BYTES = 64, 16_384
"""Inputs of a target that are in the repository, and their bytes in all."""

# What cargo-fuzz sets, without `--cfg fuzzing`: some crates weaken their cryptography under it.
COVERAGE = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
]


class Facts(NamedTuple):
    """What the program `seeds` says."""

    recipient: str
    """The secret key of the account that the recorded gift wraps are for."""
    longest: dict[str, int]
    """Longest input of each target, in bytes."""


def write_seeds() -> Facts | None:
    """Writes the seeds; returns None if that failed."""
    command = ["cargo", "run", "--quiet", "--locked", "-p", "mdk-fuzz", "--bin", "seeds", "--"]
    done = subprocess.run([*command, CORPUS], cwd=FUZZ, stdout=subprocess.PIPE, check=False)
    return Facts(**json.loads(done.stdout)) if done.returncode == 0 else None


def nightly() -> str | None:
    """The host triple of the nightly toolchain, or None when there is none."""
    try:
        found = subprocess.run(
            ["rustc", "+nightly", "-vV"], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    host = re.search(r"^host: (\S+)$", found.stdout, re.MULTILINE)
    return host[1] if found.returncode == 0 and host else None


def build(host: str, targets: list[str], sanitizer: str) -> Path | None:
    """Builds the targets; returns the folder of the binaries, or None if that failed."""
    flags = list(COVERAGE)
    if "linux" in host:
        flags.append("-Cllvm-args=-sanitizer-coverage-stack-depth")
    if sanitizer != "none":
        flags.append(f"-Zsanitizer={sanitizer}")
    # The library's lock file, to which cargo adds libFuzzer and what the manifest names for it by its version.
    shutil.copy(FUZZ.parent / "Cargo.lock", LIBFUZZER / "Cargo.lock")
    # `--target` keeps the flags away from build scripts and procedural macros.
    command = ["cargo", "+nightly", "build", "--release", "--target", host]
    command += ["--manifest-path", str(LIBFUZZER / "Cargo.toml")]
    for target in targets:
        command += ["--bin", target]
    folder = LIBFUZZER / "target" / sanitizer
    env = {**os.environ, "RUSTFLAGS": " ".join(flags), "CARGO_TARGET_DIR": str(folder)}
    if subprocess.run(command, env=env, check=False).returncode != 0:
        return None
    return folder / host / "release"


class Result(NamedTuple):
    """What one run of a target did."""

    target: str
    executions: int
    per_second: float
    corpus: int
    grown: int
    coverage: str
    verdict: str


def limits(target: str) -> list[str]:
    """Of one input: seconds, and MB at once. A history of three engines is no parser's work."""
    return [f"-timeout={20 if target.startswith('engine_') else 1}", "-malloc_limit_mb=256"]


TOO_SLOW = 70
"""libFuzzer's exit code for an input that took longer."""


def is_slow(program: Path, file: Path, args: argparse.Namespace, env: dict[str, str]) -> bool:
    """Whether an input takes too long by itself, too: a busy machine can hold up any."""
    command = [str(program), *limits(program.name), f"-rss_limit_mb={args.rss}", str(file)]
    for _ in range(3):
        with contextlib.suppress(subprocess.TimeoutExpired):
            if not subprocess.run(
                command, env=env, capture_output=True, check=False, timeout=60
            ).returncode:
                return False
    return True


def run(binary: Path, target: str, args: argparse.Namespace, facts: Facts) -> Result:
    """Runs one target until its time is over or it finds something."""
    corpus, artifacts = CORPUS / target, FUZZ / "artifacts" / target
    artifacts.mkdir(parents=True, exist_ok=True)
    before = len(list(corpus.iterdir()))
    command = [str(binary / target), str(corpus), f"-artifact_prefix={artifacts}/"]
    inputs = shares()[target] if args.night else 0
    if inputs:
        command.append(f"-runs={inputs}")
    command += [
        f"-max_total_time={args.seconds}",
        f"-max_len={facts.longest[target]}",
        f"-rss_limit_mb={args.rss}",
    ]
    command += [*limits(target), "-print_final_stats=1", "-detect_leaks=0"]
    env = {
        **os.environ,
        "MDK_FUZZ_RECIPIENT": facts.recipient,
        "ASAN_OPTIONS": "quarantine_size_mb=16:detect_odr_violation=0",
    }
    started, known = time.monotonic(), set(artifacts.iterdir())
    try:
        # libFuzzer stops by itself; the limit here is for a process that does not.
        done = subprocess.run(
            command,
            env=env,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=args.seconds * 2 + 60,
        )
        output, code = done.stderr, done.returncode
    except subprocess.TimeoutExpired:
        output, code = "the target did not stop", -1
    elapsed = max(time.monotonic() - started, 0.001)
    stat = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
    executions = int(stat[1]) if stat else 0
    edges = re.findall(r"cov: (\d+) ft: (\d+)", output)
    coverage = f"{edges[0][0]} -> {edges[-1][0]}" if edges else "none"
    if code == TOO_SLOW:
        found = [file for file in artifacts.glob("timeout-*") if file not in known]
        if found and not any(is_slow(binary / target, file, args, env) for file in found):
            print(f"{target}: the machine held up an input that is quick by itself", flush=True)
            for file in found:
                file.unlink()
            if left := int(args.seconds - elapsed):
                rest = argparse.Namespace(**{**vars(args), "seconds": left})
                return run(binary, target, rest, facts)
            code = 0
    if code != 0:
        print(f"\n--- {target}: exit code {code}\n{output[-4000:]}", flush=True)
        again = f"MDK_FUZZ_RECIPIENT={facts.recipient} {binary / target}"
        print(f"Again: {again} {artifacts}/<file>", flush=True)
        verdict = "FINDING"
    elif executions == 0 or not edges:
        print(f"\n--- {target}: no executions counted\n{output[-4000:]}", flush=True)
        verdict = "DID NOT RUN"
    elif executions < inputs:
        verdict = f"ONLY {executions} OF {inputs}"
    else:
        verdict = "ok"
    after = len(list(corpus.iterdir()))
    return Result(
        target, executions, executions / elapsed, after, after - before, coverage, verdict
    )


def shares() -> dict[str, int]:
    """Inputs of each target in a night."""
    text = (FUZZ.parent / "tests" / "sampling.json").read_text(encoding="utf-8")
    found: dict[str, int] = json.loads(text)["libfuzzer"]["inputs"]
    return found


def keep(binary: Path, target: str) -> None:
    """Write the shortest inputs that reach what the seeds do not, one a line in base64."""
    kept = KEPT / f"{target}.txt"
    kept.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        seeds, chosen = Path(folder, "seeds"), Path(folder, "chosen")
        command = ["cargo", "run", "--quiet", "--locked", "-p", "mdk-fuzz", "--bin", "seeds", "--"]
        done = subprocess.run([*command, seeds], cwd=FUZZ, stdout=subprocess.PIPE, check=True)
        env = {**os.environ, "MDK_FUZZ_RECIPIENT": Facts(**json.loads(done.stdout)).recipient}
        shutil.copytree(seeds / target, chosen)
        known = set(chosen.iterdir())
        merge = [
            str(binary / target),
            "-merge=1",
            *limits(target),
            str(chosen),
            str(CORPUS / target),
        ]
        subprocess.run(merge, env=env, check=True, capture_output=True)
        found = sorted((f.read_bytes() for f in set(chosen.iterdir()) - known), key=len)
    lines, total = [], 0
    for data in found[:MOST_KEPT]:
        total += len(data)
        if total > MOST_BYTES:
            break
        lines.append(base64.b64encode(data).decode() + "\n")
    if lines:
        KEPT.mkdir(exist_ok=True)
        kept.write_text("".join(lines), encoding="ascii")
    print(f"{target}: kept {len(lines)} of {len(found)}", flush=True)


def table(results: list[Result]) -> None:
    """Prints the results."""
    rows = [("target", "execs", "execs/s", "corpus", "edges first -> last", "verdict")]
    for r in results:
        corpus = f"{r.corpus} (+{r.grown})"
        rows.append(
            (r.target, str(r.executions), f"{r.per_second:.0f}", corpus, r.coverage, r.verdict)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Runs the fuzz targets for a bounded time.")
    parser.add_argument("targets", nargs="*", help="targets to run (default: all)")
    parser.add_argument("--seconds", type=int, default=10, help="seconds per target (default 10)")
    parser.add_argument(
        "--rss", type=int, default=512, help="memory limit of a target in MiB (default 512)"
    )
    parser.add_argument(
        "--sanitizer", choices=["none", "address"], default="address", help="(default address)"
    )
    parser.add_argument("--night", action="store_true", help="as many inputs as a night takes")
    parser.add_argument("--keep", action="store_true", help="write fuzz/kept from the corpus")
    parser.add_argument("--seeds-only", action="store_true", help="write the seeds and stop")
    args = parser.parse_args()
    if unknown := set(args.targets) - set(TARGETS):
        parser.error(
            f"unknown targets: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}"
        )
    targets = args.targets or TARGETS
    if args.night:
        args.seconds = LONGEST_NIGHT

    facts = write_seeds()
    if facts is None:
        print("The seeds are not written.", file=sys.stderr)
        return BROKEN
    if args.seeds_only:
        return 0
    host = nightly()
    if host is None:
        print(
            "No nightly Rust toolchain: install one with `rustup toolchain install nightly`.",
            file=sys.stderr,
        )
        return NO_NIGHTLY
    binary = build(host, targets, args.sanitizer)
    if binary is None:
        print("The fuzz targets do not build.", file=sys.stderr)
        return BROKEN
    if args.keep:
        for target in targets:
            keep(binary, target)
        return 0
    # Two at a time: libFuzzer uses one core, and what runs beside it must not make an input look slow.
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as cores:
        results = list(cores.map(lambda target: run(binary, target, args, facts), targets))
    table(results)
    print(f"fuzz: {sum(result.executions for result in results)} inputs in all")
    verdicts = {result.verdict for result in results}
    if "FINDING" in verdicts:
        return FOUND
    return BROKEN if verdicts != {"ok"} else 0


if __name__ == "__main__":
    sys.exit(main())
