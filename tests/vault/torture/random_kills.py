"""Kills at random times over the whole API: one account after another lives on through its deaths."""

from __future__ import annotations

import random
import time
from pathlib import Path

from .kill import Tally
from .life import begin, judge, lived, sort_out
from .life_plan import plan
from .runner import Zygote
from .world import Broken, build

# Lives of one account before the next one begins, whose history grows all the while; and deaths in each.
LIVES, DEATHS = 10, 10


def run(root: Path, forks: Zygote, kills: int, *, seed: int = 0) -> Tally:
    tally, account = Tally(), 0
    while tally.killed < kills and len(tally.failures) < 20:
        rng = random.Random(f"{seed} {account}")
        one_account(root / f"account-{account}", forks, kills, rng, tally)
        account += 1
    return tally


def one_account(root: Path, forks: Zygote, kills: int, rng: random.Random, tally: Tally) -> None:
    place = build(root / "place", messages=2)
    begin(place)
    for number in range(LIVES):
        if tally.killed >= kills:
            return
        steps = plan(place, rng)
        start = place.copy(root / f"start-{number}")
        begun = time.monotonic()
        life = lived(place, steps)
        # With all that was looked at on the way it took about twice as long as a life does.
        span = (time.monotonic() - begun) / 2
        wanted = min(kills, tally.killed + DEATHS)
        while tally.killed < wanted:
            start.copy(place.root)
            # Some die young, while they open what the last one left.
            young = rng.random() < 0.2
            said = forks.life(place.root, steps, rng.uniform(0, 0.02 if young else span))
            tally.runs += 1
            died = said[-1]["exit"] != 0
            tally.killed += died
            at = f"life {number} of {root.name}"
            try:
                heard = sort_out(steps, said)
                if heard.flight is not None:
                    at += f", in call {heard.flight} of {[step['do'] for step in steps]}"
                tally.inside += died and heard.flight is not None
                # One that comes to its end gets less time next time; a busy machine needs more to get anywhere.
                span *= 1.0 if young else 0.7 if not died else 1.3 if not heard.done else 1.0
                judge(place, life, heard)
            except Broken as broken:
                tally.fail(broken.kind, at, str(broken))
                return
            except Exception as error:  # noqa: BLE001
                tally.fail("broken", at, f"{type(error).__name__}: {error}")
                return
