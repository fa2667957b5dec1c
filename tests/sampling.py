"""How much of what is sampled a run takes, and from which seed on: sampling.json is the one table of it.

`MDK_SAMPLING` is `gate` (the default) or `nightly`. `MDK_SEED` is where the seeds begin; the gate takes it from the
commit, so that each commit tries others. A failing test names its seed, and `MDK_SEED=<it>` repeats it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

TABLE = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
COLUMNS = {"gate": 0, "nightly": 1}


def count(name: str) -> int:
    """How many of `name` to take in this run. `MDK_<NAME>` overrides the table."""
    told = os.environ.get(f"MDK_{name.upper()}")
    column = COLUMNS[os.environ.get("MDK_SAMPLING", "gate")]
    return int(told) if told is not None else int(TABLE["counts"][name][column])


def first_seed() -> int:
    """The first seed of this run, 1 where nobody says another."""
    return int(os.environ.get("MDK_SEED", "1"))


def seeds(name: str) -> list[int]:
    """Seeds of one sampled test: those that ever failed, then as many new ones as this run takes."""
    first = first_seed()
    return [*TABLE["failed_seeds"].get(name, []), *range(first, first + count(name))]


def share(file: str, parameters: int) -> range:
    """Which of a test's `parameters` (their indexes) this run takes: all, or every n-th from the seed on."""
    step = 1 if os.environ.get("MDK_SAMPLING") == "nightly" else int(TABLE["one_of"].get(file, 1))
    step = min(step, parameters)
    return range(first_seed() % step, parameters, step)
