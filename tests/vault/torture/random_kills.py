"""Kills at random times over the whole API: one account after another lives on through its deaths."""

from __future__ import annotations

import random
from pathlib import Path

from . import life
from .kill import Tally
from .life_model import sort_out
from .runner import Zygote
from .world import Broken, build

# Lives of one account before the next one begins; its history grows all the while.
LIVES = 100
STEPS = 40


def run(root: Path, forks: Zygote, kills: int, *, seed: int = 0) -> Tally:
    tally = Tally()
    account = 0
    while tally.killed < kills:
        rng = random.Random(f"{seed} {account}")
        one_account(
            root / f"account-{account}", forks, min(LIVES, kills - tally.killed), rng, tally
        )
        account += 1
        if len(tally.failures) > 20:
            break
    return tally


def one_account(root: Path, forks: Zygote, kills: int, rng: random.Random, tally: Tally) -> None:
    place = build(root, messages=2)
    model = life.begin(place)
    clock = place.clock()
    with place.peer("bob", clock) as bob, place.peer("carol", clock) as carol:
        span = 0.12
        done = 0
        while done < kills:
            steps = life.plan_life(model, place, bob, carol, clock, rng, STEPS)
            # Some die young, while they open what the last one left.
            young = rng.random() < 0.2
            after = rng.uniform(0, 0.02) if young else rng.uniform(0, span)
            said = forks.life(place.root, steps, after)
            tally.runs += 1
            if said[-1]["exit"] == 0:
                # It came to its end first; the next one gets less time.
                span *= 0.7
            else:
                done += 1
                tally.killed += 1
            at = f"life {tally.runs} of {root.name}"
            try:
                heard = sort_out(steps, said)
                at += f", in {heard.flight and heard.flight.step['do']}"
                begun = heard.done + ([heard.flight] if heard.flight else [])
                tally.reached.update(done.step["do"] for done in begun)
                if not young and not heard.done:
                    # A busy machine needs more time to get anywhere.
                    span *= 1.3
                tally.inside += heard.inside and said[-1]["exit"] != 0
                life.judge(model, place, bob, carol, heard)
            except Broken as broken:
                tally.fail(broken.kind, at, str(broken))
                return
            except Exception as error:  # noqa: BLE001
                tally.fail("broken", at, f"{type(error).__name__}: {error}")
                return
