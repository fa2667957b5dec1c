"""Everything that a pull of the plug can do to an account, in full: `python -m tests.vault.torture.run`.

Prints a line for each part, and fails if anything was lost, broken, unopenable or under the
wrong key, or if a fault was not answered as promised. The tests of this directory run a seeded sample of the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from . import faults, kill, power, random_kills, soak, threads
from .key_sources import further_operations
from .kill import Bench, Tally, bench
from .operations import all_operations
from .threads import share_of
from .world import Broken

PARTS = ("kill", "random", "faults", "power", "threads", "soak")


def per_operation(
    stand: Bench, only: list[str], sweep: Callable[..., Tally], every: int, seed: int
) -> dict[str, Tally]:
    tallies = {}
    for operation in [*all_operations(), *further_operations()]:
        if not only or operation.name in only:
            tallies[operation.name] = sweep(stand, operation, every=every, seed=seed)
            show(f"  {operation.name}", tallies[operation.name])
    return tallies


def show(name: str, tally: Tally) -> None:
    numbers = {key: value for key, value in vars(tally).items() if isinstance(value, int) and value}
    print(f"{name:24}", " ".join(f"{k}={v}" for k, v in numbers.items()), flush=True)
    for failure in tally.failures[:5]:
        print(f"    {failure}", flush=True)
    if len(tally.failures) > 5:
        print(f"    and {len(tally.failures) - 5} more", flush=True)


def many_threads(root: Path, calls: int) -> tuple[Tally, dict[str, float]]:
    """Eight threads with so many calls each; the time by the clock is told, not judged."""
    tally = Tally(runs=1, calls=8 * calls)
    try:
        waits = threads.run(root, calls)
    except Broken as broken:
        tally.fail(broken.kind, "threads", str(broken))
        return tally, {}
    behind = [spent for _, spent in waits.behind()]
    judged = {"one send": waits.longest_send(), "95 % of the reads": share_of(behind, 0.95)}
    for name, spent in judged.items():
        if spent >= threads.MOST:
            tally.fail("slow", "threads", f"{1000 * spent:.4g} ms of processor time: {name}")
    measured = {f"ms of processor time, {name}": 1000 * spent for name, spent in judged.items()}
    for name, share in {"half": 0.5, "99 %": 0.99, "99.9 %": 0.999, "all": 1.0}.items():
        measured[f"ms of the senders' processor time before {name} of the reads"] = 1000 * share_of(
            behind, share
        )
        measured[f"ms by the clock, {name} of the reads"] = 1000 * waits.longest_read(share)
    return tally, measured


def long_life(root: Path, messages: int) -> tuple[Tally, dict[str, float]]:
    """An account that receives so many messages."""
    tally = Tally(runs=1, calls=messages // soak.BATCH)
    try:
        grown = soak.growth(soak.run(root, messages))
    except Broken as broken:
        tally.fail(broken.kind, "soak", str(broken))
        return tally, {}
    for name, most in soak.BOUNDS.items():
        if grown[name] > most:
            tally.fail("grown", "soak", f"{name}: {grown[name]}, not {most}")
    return tally, grown


def total(tallies: dict[str, Tally]) -> Tally:
    whole = Tally()
    for tally in tallies.values():
        whole.add(tally)
    return whole


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="each n-th call only")
    parser.add_argument("--kills", type=int, default=2000, help="random kills")
    parser.add_argument("--schedules", type=int, default=500, help="losses of power")
    parser.add_argument("--calls", type=int, default=10_000, help="of each of eight threads")
    parser.add_argument("--messages", type=int, default=1_000_000, help="of one long life")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part")
    parser.add_argument("--operation", action="append", default=[], help="only this operation")
    options = parser.parse_args()
    parts = options.part or PARTS
    failed = False
    for part in parts:
        started = time.monotonic()
        print(f"torture: {part}", flush=True)
        measured: dict[str, float] = {}
        with bench() as stand:
            match part:
                case "threads":
                    tally, measured = many_threads(stand.root / part, options.calls)
                    tallies = {part: tally}
                case "soak":
                    tally, measured = long_life(stand.root / part, options.messages)
                    tallies = {part: tally}
                case "kill" | "faults":
                    sweep = kill.sweep if part == "kill" else faults.sweep
                    only, every = options.operation, options.every
                    tallies = per_operation(stand, only, sweep, every, options.seed)
                case "random":
                    with tempfile.TemporaryDirectory(prefix="mdk-lives-") as root:
                        here = Path(root).resolve()
                        tally = random_kills.run(
                            here, stand.zygote, options.kills, seed=options.seed
                        )
                    tallies = {"lives": tally}
                case _:
                    tallies = power.run(stand, options.schedules, lives=4, seed=options.seed)
        whole = total(tallies)
        show(f"  all of {part}", whole)
        for name, value in measured.items():
            print(f"    {name}: {value:.4g}", flush=True)
        failed = failed or bool(whole.failures)
        print(f"    {time.monotonic() - started:.0f} seconds", flush=True)
    print(f"torture: {'FAILED' if failed else 'nothing lost, nothing broken'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
