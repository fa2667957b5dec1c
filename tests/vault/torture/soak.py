"""A long life in short: memory, write-ahead log and file while messages keep coming."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path

from mdk import Applied, GroupId

from .world import build, require

BATCH = 100
# What may be, of the numbers that `growth` gives.
BOUNDS = {"memory": 0.05, "log": 16 << 20, "file": 1.3}


@dataclass(frozen=True)
class Sample:
    """What was measured after so many messages; sizes in bytes."""

    messages: int
    memory: int
    log: int
    file: int


def resident() -> int:
    """Memory of this process that is in use."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def run(root: Path, messages: int, samples: int = 20) -> list[Sample]:
    """Receives so many messages, one transaction per hundred. The log is looked at after each."""
    place = build(root, messages=1)
    group = GroupId(place.facts["group"])
    taken: list[Sample] = []
    log_most = 0
    with place.alice() as alice, place.peer() as bob:
        for done in range(0, messages, BATCH):
            events = [
                bob.create_message(group, f"{done + n} {'x' * 80}").event for n in range(BATCH)
            ]
            for outcome in alice.process_many(events):
                require(isinstance(outcome, Applied), "lost", type(outcome).__name__)
            database, log = place.account / "mdk.db", place.account / "mdk.db-wal"
            log_most = max(log_most, log.stat().st_size)
            if (done + BATCH) % max(messages // samples, BATCH) == 0:
                gc.collect()
                taken.append(Sample(done + BATCH, resident(), log_most, database.stat().st_size))
    return taken


def growth(samples: list[Sample]) -> dict[str, float]:
    """What the targets speak of, from the second quarter on: until then caches fill."""
    quarter, half, last = samples[len(samples) // 4], samples[len(samples) // 2], samples[-1]
    per_message = (half.file - quarter.file) / (half.messages - quarter.messages)
    later = (last.file - half.file) / (last.messages - half.messages)
    return {
        "memory": last.memory / quarter.memory - 1,
        "log": float(last.log),
        "bytes per message": later,
        "file": later / per_message,
    }
