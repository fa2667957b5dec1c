"""Measure ours, the peer and the floor in one process tree; print a table and write benches/results/latest.json.

Both measured sides are child processes that are asked for a few samples in turn, so that a noisy moment hits
both; the floor runs before and after them and the lower median counts. `--check` exits 1 when a target does not
hold. An operation that misses its target is measured up to twice more, all sides again, and the best of the runs
counts: noise makes one ratio worse by chance, a real loss stays. Nothing else is tolerated.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import fork
import fsyncs
import machine
import rekey
import report

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benches/results/latest.json"
Key = tuple[str, int]


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    sizes: tuple[int, ...]
    rounds: int
    messages: int  # per round
    commits: int
    foundings: int  # rounds in which groups are created and joined
    batch: int
    history: int
    traced: tuple[str, ...]


FULL = Plan((2, 10, 50, 100), 5, 40, 6, 5, 500, 10_000, fsyncs.OPERATIONS)
QUICK = Plan((2, 10), 2, 10, 3, 2, 100, 500, ("send", "receive", "self_update"))


class Worker:
    """One measured side in its own process, answering requests over pipes."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, scenario: str, **arguments: object) -> dict[str, Any]:
        assert self.process.stdin is not None, "opened as a pipe"
        assert self.process.stdout is not None, "opened as a pipe"
        self.process.stdin.write(json.dumps({"scenario": scenario, **arguments}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"bench: {self.name} ended during {scenario} {arguments}")
        result: dict[str, Any] = json.loads(answer)
        return result

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait(timeout=60)


@dataclass
class Measured:
    """Samples of every side, and what else the scenarios found out."""

    samples: dict[str, dict[Key, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    bytes: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))

    def take(self, side: str, members: int, answer: dict[str, Any]) -> None:
        for name, value in answer.items():
            if isinstance(value, list):
                self.samples[side][name, members] += value
            else:
                self.bytes[side][f"{name}_{members}"] = value

    def medians(self, side: str) -> dict[Key, float]:
        return {key: median(values) for key, values in self.samples[side].items() if values}


def requests(
    plan: Plan, operations: set[Key] | None = None
) -> Iterable[tuple[int, str, dict[str, Any]]]:
    """(members, scenario, arguments) of one round; only what yields one of `operations` when given."""

    def wanted(members: int, *names: str) -> bool:
        return operations is None or any((name, members) in operations for name in names)

    if wanted(1, "key_package"):
        yield 1, "key_package", {"count": plan.messages}
    if wanted(2, "open"):
        yield 2, "open", {"members": 2, "count": plan.commits}
    for size in plan.sizes:
        if wanted(size, "send", "receive"):
            yield size, "talk", {"members": size, "count": plan.messages}
        if wanted(size, "self_update", "process_commit"):
            yield size, "commits", {"members": size, "count": plan.commits}
        if wanted(size, "create", "join"):
            yield size, "found", {"members": size, "count": 1, "wrap": size <= 50}
    if wanted(2, "ingest"):
        yield 2, "ingest", {"members": 2, "count": 1, "batch": plan.batch}


def measure(
    plan: Plan, workers: list[Worker], measured: Measured, operations: set[Key] | None = None
) -> None:
    for turn in range(plan.rounds):
        for members, scenario, arguments in requests(plan, operations):
            if scenario in {"found", "ingest"} and turn >= plan.foundings:
                continue
            # Whoever goes first warms nothing for the other, but take turns all the same.
            for worker in workers if turn % 2 == 0 else reversed(workers):
                measured.take(worker.name, members, worker.ask(scenario, **arguments))


def build() -> Path:
    """Build the programs that stand beside the engine; returns their folder."""
    # With the engine's package among those that are chosen, they take the dependencies that it was built with; by
    # themselves they would choose fewer features of some, and all that depends on these would be compiled again.
    chosen = ["-p", "mdk-python", "-p", "mdk-floor", "-p", "mdk-store"]
    programs = ["--bin", "mdk-floor", "--example", "rekey_speed"]
    command = ["cargo", "build", "--release", "--locked", "--quiet", *chosen, *programs]
    subprocess.run(command, cwd=ROOT, check=True)
    raw = subprocess.check_output(
        ["cargo", "metadata", "--no-deps", "--format-version=1"], cwd=ROOT, text=True
    )
    return Path(json.loads(raw)["target_directory"]) / "release"


def floor(program: Path, quick: bool) -> dict[Key, dict[str, float]]:
    found = json.loads(
        subprocess.check_output([str(program), *(["--quick"] if quick else [])], text=True)
    )
    return {(row.pop("operation"), row.pop("members")): row for row in found["rows"]}


def growth(plan: Plan, ours: Worker) -> dict[str, Any]:
    """Costs in a group with a history beside those in one with a tenth of it, and in one that has just begun."""
    sizes = ours.ask("grow", members=2, messages=plan.history)
    few = plan.history // 10
    each = ours.ask("compare", members=2, count=5 * plan.messages, few=few)
    others = ours.ask("compare_others", members=2, count=plan.commits, batch=plan.messages)
    return {
        "messages": plan.history,
        "few": few,
        **{
            f"{name}_ms_{age}": median(each[f"{name}_{age}"])
            for name in ("send", "receive")
            for age in ("new", "young", "old")
        },
        **{
            f"{name}_ms_{age}": median(others[f"{name}_{age}"])
            for name in report.OTHERS
            for age in ("new", "old")
        },
        "database_bytes_per_1000_messages": (sizes["bytes_after"] - sizes["bytes_before"])
        * 1000
        // plan.history,
    }


def peer_worker(folder: Path) -> Worker | None:
    script = ROOT / "scripts/peer.py"
    if subprocess.run([sys.executable, str(script), "check"], check=False).returncode != 0:
        print("bench: measuring without the peer", file=sys.stderr)
        return None
    folder.mkdir()
    return Worker(
        "peer",
        [sys.executable, str(script), "run", "--", str(ROOT / "benches/peer.py"), str(folder)],
    )


def rows(
    measured: Measured, floors: dict[Key, dict[str, float]], counts: dict[Key, Any]
) -> list[dict[str, Any]]:
    ours, peer = measured.medians("ours"), measured.medians("peer")
    return [
        {
            "operation": key[0],
            "members": key[1],
            "ours_ms": ours.get(key),
            "peer_ms": peer.get(key),
            "floor_ms": floors.get(key, {}).get("ms"),
            "floor_mls_ms": floors.get(key, {}).get("mls_ms"),
            "fsyncs": counts.get(key, {}).get("median"),
            "fsyncs_most": counts.get(key, {}).get("most"),
        }
        for key in sorted(
            {*ours, *peer, *floors}, key=lambda k: (report.OPERATIONS.index(k[0]), k[1])
        )
    ]


def main() -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few samples and small groups: a smoke test, no verdict",
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a target does not hold")
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    facts = machine.facts(ROOT)
    base = os.environ.get(
        "MDK_BENCH_DIR"
    )  # databases lie here; the default is the system's temporary folder
    folder = Path(tempfile.mkdtemp(prefix="mdk-bench-", dir=base))
    try:
        programs = build()
        floors = floor(programs / "mdk-floor", options.quick)
        (folder / "ours").mkdir()
        ours = Worker("ours", [sys.executable, str(ROOT / "benches/ours.py"), str(folder / "ours")])
        peer = None if options.no_peer else peer_worker(folder / "peer")
        workers = [ours, *([peer] if peer else [])]
        measured = Measured()
        measure(plan, workers, measured)
        history = growth(plan, ours)
        for key, again in floor(programs / "mdk-floor", options.quick).items():
            floors[key] = min(floors[key], again, key=lambda row: row["ms"])
        counts = fsyncs.count(ROOT, folder, plan.traced)
        table = rows(measured, floors, counts)
        speed_program = programs / "examples/rekey_speed"
        speeds = rekey.measure(folder, speed_program, quick=options.quick)
        for _ in range(2 if options.check else 0):
            if report.rekey_verdict(speeds).holds:
                break
            again = rekey.measure(folder, speed_program, quick=options.quick)
            speeds = min(speeds, again, key=lambda found: found["rekey_s"] / found["floor_s"])
        race = fork.measure(folder, quick=options.quick)
        verdicts = report.verdicts(table, history)
        for _ in range(2 if options.check and peer else 0):
            missed = {v.key for v in verdicts if not v.holds and v.key}
            if not missed:
                break
            second = Measured()
            measure(plan, workers, second, missed)
            for key, row in floor(programs / "mdk-floor", options.quick).items():
                floors[key] = min(floors[key], row, key=lambda r: r["ms"])
            table = report.better(table, rows(second, floors, counts), missed)
            verdicts = report.verdicts(table, history)
        for worker in workers:
            worker.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    verdicts += [report.fork_verdict(race), report.rekey_verdict(speeds)]
    result = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "machine": facts,
        "rows": table,
        "bytes": measured.bytes,
        "history": history,
        "fork": race,
        "rekey": speeds,
        "targets": [v.as_json() for v in verdicts],
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    report.show(result, verdicts)
    print(f"written to {RESULTS.relative_to(ROOT)}")
    return 1 if options.check and not all(v.holds for v in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
