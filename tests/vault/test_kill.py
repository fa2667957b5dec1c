"""Kills at every call and at random times. Samples for each commit; `make torture` runs the whole."""

from __future__ import annotations

import random
import re
import shutil
import signal
from pathlib import Path

import pytest
from tests import sampling
from tests.vault.conftest import NEEDS_SHIM
from tests.vault.torture import life, operations, random_kills
from tests.vault.torture.kill import Bench, bench, sweep
from tests.vault.torture.life_plan import plan
from tests.vault.torture.operations import by_name
from tests.vault.torture.runner import Zygote
from tests.vault.torture.shim import CHANGES, Kind, Mode, Plan, build, read_log
from tests.vault.torture.world import Broken
from tests.vault.torture.world import build as build_world

pytestmark = NEEDS_SHIM

# Each n-th call of an operation; the dear ones are visited less often.
EVERY = {
    "first_open": 40,
    "receive_checkpoint": 23,
    "receive_restart": 9,
    "restore": 140,
    "encrypt_existing": 60,
}
EVERY |= {"rekey": 20, "backup": 4, "reopen": 9, "create_group": 15, "welcome": 9}
STRIDE, SEED = sampling.count("torture_stride"), sampling.first_seed()


# proves: R2, R4
@pytest.mark.parametrize("name", [o.name for o in operations.all_operations()])
def test_killed_at_a_call_nothing_is_lost(stand: Bench, name: str) -> None:
    tally = sweep(stand, by_name(name), every=EVERY.get(name, 7) * STRIDE, seed=SEED)
    assert not tally.failures, "\n".join(tally.failures)
    assert tally.killed == tally.runs - 1


# proves: R1
def test_killed_at_random_times_nothing_is_lost(stand: Bench, tmp_path: Path) -> None:
    kills = sampling.count("random_kills")
    tally = random_kills.run(tmp_path.resolve(), stand.zygote, kills, seed=SEED)
    assert not tally.failures, "\n".join(tally.failures)
    assert tally.killed == kills
    # (a busy machine makes the moments between two calls longer)
    assert tally.inside > 0.6 * kills, "most kills are to hit inside a call"


# ------------------------------------------------------------------ whether the instrument can be trusted


def test_the_shim_sees_what_strace_sees(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace")
    trace, log = tmp_path / "trace", tmp_path / "log"
    calls = "write,pwrite64,writev,pwritev,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,"
    calls += "ftruncate,fallocate,open,openat,creat,mkdir,mkdirat,access"
    with bench() as made:
        operation = by_name("receive_checkpoint")
        made.ready(operation)
        place = made.fresh(operation)
        wrapper = [strace, "-f", "-y", "-s", "0", "-e", f"trace={calls}", "-o", str(trace)]
        with Zygote(build(tmp_path), *wrapper) as traced:
            run = traced.operation(operation.name, place.root, Plan(mask=CHANGES), log=log)
        root = str(place.watched)
    assert run.acknowledged
    text = trace.read_text(encoding="utf-8", errors="replace")
    _, armed = text.split('access("/shim/armed"', 1)
    ours = [r for r in read_log(log) if r.call != "mark"]
    end = max(n for n, line in enumerate(armed.splitlines()) if str(log) in line)
    seen = []
    for line in armed.splitlines()[1 : end + 1]:
        call = re.match(r"\d+ +(\w+)\((.*)", line)
        if call is None or root not in line or str(log) in line:
            continue
        name = call[1]
        if name in {"open", "openat"} and "O_CREAT" not in line and "O_TRUNC" not in line:
            continue
        seen.append({"pwrite64": "pwrite", "openat": "create", "open": "create"}.get(name, name))
    assert [r.call for r in ours] == seen
    assert len(ours) == run.count > 5


def test_a_kill_is_a_kill_and_a_torn_write_is_half_there(stand: Bench, tmp_path: Path) -> None:
    operation = by_name("receive_checkpoint")
    stand.ready(operation)
    log = tmp_path / "whole"
    stand.zygote.operation(operation.name, stand.fresh(operation).root, log=log)
    calls = [r for r in read_log(log) if r.call != "mark"]
    target = next(n for n, r in enumerate(calls, 1) if r.length == 4096)
    log = tmp_path / "torn"
    plan = Plan(Mode.KILL_TORN, target)
    run = stand.zygote.operation(operation.name, stand.fresh(operation).root, plan, log=log)
    assert run.exit == -signal.SIGKILL
    assert not run.acknowledged
    last = list(read_log(log))[-1]
    assert (last.kind, last.length, len(last.data)) == (Kind.WRITE, 4096, 2048)


def test_the_moving_of_the_log_is_inside_the_call_and_then_it_begins_anew(
    stand: Bench, tmp_path: Path
) -> None:
    written = {}
    for name in ("receive", "receive_checkpoint", "receive_restart"):
        operation = by_name(name)
        stand.ready(operation)
        stand.zygote.operation(name, stand.fresh(operation).root, log=tmp_path / name)
        calls = [r for r in read_log(tmp_path / name) if r.kind is Kind.WRITE]
        written[name] = [(Path(r.first).name, r.offset) for r in calls]
    assert all(file == "mdk.db-wal" for file, _ in written["receive"])
    assert sum(file == "mdk.db" for file, _ in written["receive_checkpoint"]) > 10
    assert ("mdk.db-wal", 0) in written["receive_restart"]


def test_the_checks_notice_a_lost_message_and_a_broken_file(stand: Bench) -> None:
    """A run whose files are put back as they were before it: what it acknowledged is gone."""
    operation = by_name("receive")
    _, control, _ = stand.ready(operation)
    assert stand.zygote.operation("receive", stand.fresh(operation).root).acknowledged
    with pytest.raises(Broken, match="lost"):
        operation.check(stand.fresh(operation), acknowledged=True, control=control)
    place = stand.fresh(operation)
    raw = bytearray((place.account / "mdk.db").read_bytes())
    raw[100] ^= 1
    (place.account / "mdk.db").write_bytes(raw)
    with pytest.raises(Broken, match=r"unopenable|wrong_key"):
        operation.check(place, acknowledged=False)


def test_the_checks_notice_calls_of_a_life_that_are_lost(tmp_path: Path) -> None:
    """They were acknowledged, and the files are those of before."""
    place = build_world(tmp_path.resolve() / "place", messages=2)
    life.begin(place)
    steps = plan(place, random.Random(SEED))
    start = place.copy(tmp_path / "start")
    lived = life.lived(place, steps)
    results = [{"result": result} for result in lived.results]
    noticed = 0
    for done in range(len(steps) + 1):
        if lived.states[done] != lived.states[0] and noticed < 4:
            start.copy(place.root)
            with pytest.raises(Broken, match="lost"):
                life.judge(place, lived, life.Heard(results[:done]))
            noticed += 1
    assert noticed == 4
